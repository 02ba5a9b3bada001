"""A run that is killed at any file operation or moment, and resumed, ends bit for bit as one that was not."""

import itertools
import json
import random
import re
from pathlib import Path

import pytest
from harness import killed

from cifar_imbalance.engine import checkpoint

TIMES = {"images_per_second", "seconds", "first_step_seconds", "validation_seconds"}
UNLIKE = {Path("train.log"), Path("environment.json")}  # times and commands
SECONDS = 2.0  # of a run, about


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
        state = checkpoint.load(file)
        del state["epochs_sha256"]["metrics.jsonl"]
        return checkpoint.digest(state)
    if file.name == "metrics.jsonl":
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]
    if file.name == "report.html":  # without environment and command
        return re.sub(r"<details>.*?</details>", "", file.read_text(), flags=re.S)
    return file.read_bytes()


def kill_and_resume(whole: Path, cwd: Path, words: list[str], *kills: dict[str, float]) -> int:
    """Kill a run, and the runs resumed from it, as told, then resume it to its end, and compare it with the whole one.

    A run without a checkpoint is refused, in one line. Returns the number of processes that were killed.
    """
    cwd.mkdir()
    run, count = cwd / "run", 0
    for kill in kills:
        code, error = killed.train(cwd, words, **kill)
        assert (code, error) in ((-9, ""), (0, "")), kills
        count += code == -9
        if not (run / "checkpoints" / "last.pt").exists():
            break
        words = ["resume=run"]
    code, error = killed.train(cwd, ["resume=run"])
    if not (run / "checkpoints" / "last.pt").exists():
        assert (code, len(error.splitlines())) == (2, 1), (kills, error)
        assert error.startswith("train.py: resume=run: ")
        return count
    assert (code, error) == (0, ""), kills
    assert files(run) == files(whole), kills
    for name in files(whole) - UNLIKE:
        assert content(run / name) == content(whole / name), (kills, name)
    return count


KILLS = [
    [{"at": 20}],  # before the first checkpoint
    [{"at": 50}, {"at": 20}],
    [{"at": 80}, {"after": SECONDS / 2}],
]


@pytest.mark.parametrize("kills", KILLS, ids=str)
def test_a_killed_run_that_is_resumed_equals_one_that_was_not(tmp_path, whole, words, kills):
    assert kill_and_resume(whole, tmp_path / "killed", words, *kills) > 0


@pytest.mark.slow
def test_200_kills_at_every_file_operation_and_at_random_moments_lose_nothing(tmp_path, whole, words):
    draw = random.Random(0)
    count = 0
    for at in itertools.count(1):  # each file operation of the whole run, then some of those of the resumed ones
        then = [{"at": draw.randrange(1, 50)}, {"at": draw.randrange(1, 50)}]
        killed_here = kill_and_resume(whole, tmp_path / f"at_{at}", words, {"at": at}, *then)
        count += killed_here
        if killed_here == 0:  # the run has fewer operations
            break
    for number in range(30):
        moments = [{"after": draw.uniform(0, SECONDS)} for _ in range(3)]
        count += kill_and_resume(whole, tmp_path / f"after_{number}", words, *moments)
    print(f"{count} kills, of them {at - 1} at each operation of the first run")
    assert count >= 200
