"""A run that is killed at any file operation or moment, and resumed, ends bit for bit as one that was not."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_imbalance.engine import checkpoint
from harness import killed

TIMES = {"images_per_second", "seconds", "first_step_seconds", "validation_seconds"}


@pytest.fixture(scope="module")
def words(tiny_words):
    return [*tiny_words, "hydra.run.dir=run"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, words):
    """The folder of a run that was not killed."""
    cwd = tmp_path_factory.mktemp("whole")
    assert killed.train(cwd, words) == (0, "")
    return cwd / "run"


def files(folder: Path) -> set[Path]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path for path in found if not path.name.startswith("environment_resumed_")}


def content(file: Path) -> object:
    """What a file of a run holds, without times."""
    if file.suffix == ".pt":
        return checkpoint.digest(checkpoint.load(file))
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return {name: arrays[name].tolist() for name in arrays}
    if file.name == "metrics.jsonl":
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]
    return file.read_bytes()


def kill_and_resume(whole: Path, cwd: Path, words: list[str], *kills: dict[str, float]) -> str:
    """Kill a run, and the run resumed from it, as told; resume it; compare. Returns how it ended."""
    cwd.mkdir()
    run = cwd / "run"
    for kill in kills:
        code, error = killed.train(cwd, words, **kill)
        assert (code, error) in ((-9, ""), (0, "")), kills
        words = ["resume=run"]
        if not (run / "checkpoints" / "last.pt").exists():
            break
    code, error = killed.train(cwd, ["resume=run"])
    if not (run / "checkpoints" / "last.pt").exists():
        assert code == 2, (kills, error)
        assert error.startswith("train.py: resume=run: ")
        assert len(error.splitlines()) == 1
        return "refused"
    assert (code, error) == (0, ""), kills
    assert files(run) == files(whole), kills
    for name in files(whole) - {Path("train.log"), Path("environment.json"), Path("report/curves.png")}:
        assert content(run / name) == content(whole / name), (kills, name)
    return "equal"


@pytest.mark.parametrize("at", [12, 30, 45, 60])
def test_killed_at_a_file_operation(tmp_path, whole, words, at):
    kill_and_resume(whole, tmp_path / "killed", words, {"at": at})
