"""The wheel: installed without the repository it has the configuration groups and console scripts."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {
    "cifar-imbalance-train",
    "cifar-imbalance-evaluate",
    "cifar-imbalance-export",
    "cifar-imbalance-figures",
    "cifar-imbalance-predict",
    "cifar-imbalance-preflight",
    "cifar-imbalance-search",
    "cifar-imbalance-track",
    "cifar-imbalance-benchmark",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "site")
    return folder / "site"


def typed(site, cwd, program, *words):
    """What a user sees who types a console script."""
    code = f"from cifar_imbalance.console import {program} as program; program()"
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "100"}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_every_configuration_and_asset_is_in_the_wheel(site):
    for folder, inside in ((ROOT / "conf", "conf"), (ROOT / "cifar_imbalance", "")):
        files = [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        missing = [f for f in files if not (site / "cifar_imbalance" / inside / f.relative_to(folder)).is_file()]
        assert files and not missing


def test_console_scripts_are_the_programs(site):
    (entries,) = site.glob("*.dist-info/entry_points.txt")
    lines = entries.read_text().splitlines()
    assert {line.split(" = ")[0] for line in lines if " = " in line} == SCRIPTS
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].keys() == SCRIPTS


def test_programs_run_anywhere(site, tmp_path):
    answer = typed(site, tmp_path, "train", "seed=3", "--cfg", "job")
    assert answer.returncode == 0, answer.stderr
    assert "seed: 3" in answer.stdout
    answer = typed(site, tmp_path, "train", "experiment=exp22")
    assert answer.returncode == 2
    assert answer.stderr.startswith("cifar-imbalance-train: experiment=exp22 (did you mean exp2?): allowed are ")
    answer = typed(site, tmp_path, "evaluate", "ckpt=nowhere")
    assert answer.stderr == "cifar-imbalance-evaluate: ckpt=nowhere: there is no such file or folder\n"
    answer = typed(site, tmp_path, "search", "hydra.run.dir=x")
    assert answer.stderr == "cifar-imbalance-search: hydra.run.dir=x: write output=x\n"
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_programs_as_they_are_called(site, tmp_path):
    text = typed(site, tmp_path, "train", "--help").stdout
    assert "\ncifar-imbalance-train experiment=exp2 dataset.root=DIR  an experiment of the paper\n" in text
    assert "\ncifar-imbalance-train                             the quickstart" in text  # columns stay where they are
    assert ".py" not in text.partition("Flags:")[0]
    text = typed(site, tmp_path, "search", "--help").stdout
    assert "\ncifar-imbalance-search experiment=quickstart trials=40 " in text and "python" not in text


def test_a_run_of_the_quickstart_names_the_next_command(site, tmp_path):
    answer = typed(site, tmp_path, "train", "training.epochs=1", "runtime=cpu", "runtime.threads=1")
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"next:       cifar-imbalance-evaluate ckpt=\S*outputs/quickstart/", answer.stdout)
    assert list(tmp_path.glob("outputs/quickstart/*/report/report.html"))
