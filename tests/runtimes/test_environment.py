"""What environment.json says of the machine, the code and the command."""

import subprocess
import sys

import pytest

from cifar_imbalance.runtimes import environment as module
from cifar_imbalance.runtimes.environment import environment


def git(folder, *words):
    names = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    done = subprocess.run(["git", *names, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A clone that the package seems to be in."""
    file = tmp_path / "outer" / "clone" / "cifar_imbalance" / "runtimes" / "environment.py"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr(module, "__file__", str(file))
    return tmp_path / "outer" / "clone"


def test_the_commit_is_that_of_the_clone(package):
    git(package, "init")
    git(package, "add", ".")
    git(package, "commit", "-m", "all")
    assert environment(None)["git_commit"] == git(package, "rev-parse", "HEAD")


def test_a_package_in_the_repository_of_something_else_has_no_commit(package):
    git(package.parent, "init")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-m", "all")
    assert environment(None)["git_commit"] is None


def test_a_package_outside_of_any_repository_has_no_commit(package, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(package.parent))
    assert environment(None)["git_commit"] is None


def test_the_command_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "dataset.root=my photos", "model=tiny"])
    assert environment(None)["command"] == "train.py 'dataset.root=my photos' model=tiny"
