"""Type and shape checks during tests; the real images and weights; running a command."""

import json
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from jaxtyping import install_import_hook


def _pin_worker_to_cores() -> None:
    """Pin each pytest-xdist worker to its share of the cores, since torch's threads wait for each other."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        cores = sorted(os.sched_getaffinity(0))
        mine = cores[int(worker.removeprefix("gw")) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])] or cores
        os.sched_setaffinity(0, mine)
        os.environ["OMP_NUM_THREADS"] = str(len(mine))


_pin_worker_to_cores()  # before torch is imported
install_import_hook("cifar_imbalance", "typechecking.checked")

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = "CIFAR_IMBALANCE_DATA"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers for the whole suite, none for files or tests that are named on the command line."""
    named = [Path(argument.partition("::")[0]) for argument in config.invocation_params.args]
    if any(path.exists() for path in named):
        config.option.dist = "no"
        return 0
    return 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of long tests first, so that no worker is left with one of them at the end."""
    long = ("runtimes", "engine", "runs")
    items.sort(key=lambda item: item.path.parent.name not in long)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with cifar100/ and cifar10/ (train/CLASS/IMAGE, test/CLASS/IMAGE) and lite0.safetensors."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"needs real images and weights: set {VARIABLE} to their folder")
    return Path(folder)


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


def _type(cwd: Path, program: str, *words: object) -> Answer:
    """Run `python PROGRAM.py WORDS` in the folder `cwd`, in this process, so that torch is imported only once."""
    from cifar_imbalance import command_line

    out, err, code = StringIO(), StringIO(), 0
    GlobalHydra.instance().clear()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [str(ROOT / f"{program}.py"), *map(str, words)])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.chdir(cwd)
        try:
            getattr(command_line, program)()
        except SystemExit as end:
            code = end.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def typed():
    return _type


@pytest.fixture(scope="session")
def tiny_words():
    """A run that takes seconds: the quickstart for two epochs, on digits of 16 pixels."""
    return [
        "experiment=quickstart",
        "dataset.image_size=16",
        "training.epochs=2",
        "schedule.warmup_fraction=0",
        "training.batch_size=64",
        "runtime=cpu",
        "runtime.threads=1",
        "plots.png=false",
        "plots.pdf=false",
    ]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, typed, tiny_words):
    """The folder of a finished tiny run. Read or copy it, do not change it."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    answer = typed(folder.parent, "train", *tiny_words, "plots.png=true", f"hydra.run.dir={folder}")
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Path]]:
    """The configurations of the runs that were started, with their folders; none is trained."""
    from cifar_imbalance.engine import ensemble, experiment

    runs: list[tuple[Any, Path]] = []
    for module, name in ((experiment, "run_experiment"), (ensemble, "run_ensemble")):
        monkeypatch.setattr(module, name, lambda config, folder, *_: runs.append((config, folder)))
    return runs


@pytest.fixture
def resealed():
    """Makes the summary of a run name its saved logits as they are now: what a forger would do."""

    def reseal(run: Path) -> None:
        from cifar_imbalance.runs import stored  # after the import hook
        from cifar_imbalance.runs.folder import RunFolder

        folder = RunFolder(run)
        content = {**stored.read_json(folder.summary, {}), "predictions_sha256": folder.predictions_sha256()}
        folder.summary.write_text(json.dumps(stored.sealed(content)))

    return reseal
