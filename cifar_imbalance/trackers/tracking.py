"""The trackers of a run: what they are sent, and what happens if one fails."""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import logging
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.schema import leaves
from cifar_imbalance.configuration.typed import as_typed
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runs.stored import read_json, read_text
from cifar_imbalance.trackers.base import Table, TrackedRun, Tracker

log = logging.getLogger(__name__)

TRACKERS = {  # module and class, which is imported when a run asks for it
    "tensorboard": ("cifar_imbalance.trackers.tensorboard", "TensorBoard"),
    "wandb": ("cifar_imbalance.trackers.wandb", "WeightsAndBiases"),
    "mlflow": ("cifar_imbalance.trackers.mlflow", "MLflow"),
    "trackio": ("cifar_imbalance.trackers.trackio", "Trackio"),
}


class Tracking:
    """The trackers of a run that have not failed. None of its methods raises what a tracker does."""

    def __init__(self, names: Sequence[str], folder: RunFolder, config: TrainConfig, *, epochs_done: int) -> None:
        self.failed: list[str] = []
        self._folder = folder
        self._trackers: dict[str, Tracker] = {}
        self._finished = False
        for name in names:
            self._try(name, lambda name=name: self._start(name, _tracked(folder, config, epochs_done)))  # type: ignore[misc]

    def log(self, line: Mapping[str, Any]) -> None:
        """Send the numbers in a line of metrics.jsonl."""
        metrics = {name: value for name, value in _numbers(line).items() if name != "epoch"}
        self._each(lambda tracker: tracker.log(metrics, step=line["epoch"]))

    def finish(self) -> None:
        """Send the results in the report of the run, which is written."""
        self._finished = True
        report = self._folder.report

        def send(tracker: Tracker) -> None:
            figures = {file.stem: file for file in sorted(report.glob("*.png"))}
            summary = _numbers(read_json(self._folder.summary, {}))
            tracker.finish(summary, _classes(read_text(report / "classification_report.csv")), figures)

        self._each(send)

    def close(self) -> None:
        self._each(lambda tracker: tracker.close(finished=self._finished))

    def _start(self, name: str, run: TrackedRun) -> None:
        module, kind = TRACKERS[name]
        self._trackers[name] = getattr(importlib.import_module(module), kind)(run)

    def _each(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            self._try(name, lambda tracker=tracker: action(tracker))  # type: ignore[misc]

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            with _quietly():
                action()
        except Exception as error:
            self.failed.append(name)
            self._trackers.pop(name, None)
            why = " ".join(f"{type(error).__name__}: {error}".split())
            later = replay_command(self._folder, [name])
            log.info("logger=%s: %s; nothing more is sent; once the run is finished: %s", name, why, later)


def replay_command(folder: RunFolder, names: Sequence[str]) -> str:
    """The command that sends the finished run in `folder` to the trackers `names`."""
    logger = as_typed("logger", names[0]) if len(names) == 1 else shlex.quote(f"logger=[{','.join(names)}]")
    return f"{command('track')} {as_typed('ckpt', str(folder.path))} {logger}"


@contextmanager
def tracking(
    names: Sequence[str], folder: RunFolder, config: TrainConfig, *, epochs_done: int = 0
) -> Iterator[Tracking]:
    """The trackers `names` of the run in `folder`, which go on after `epochs_done`, closed at the end."""
    found = Tracking(names, folder, config, epochs_done=epochs_done)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def _quietly() -> Iterator[None]:
    """What services print and warn of is not the run's."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _tracked(folder: RunFolder, config: TrainConfig, epochs_done: int) -> TrackedRun:
    path = folder.path.absolute()
    begun = read_text(folder.path / "environment.json")  # which no resumed run changes
    numbered = path.name.isdecimal()  # as members and trials are
    return TrackedRun(
        folder=folder.path,
        id=hashlib.sha256(f"{path.resolve()}\n{begun}".encode()).hexdigest()[:16],
        name="_".join(path.parts[-3:]) if numbered else path.name,
        experiment=config.experiment,
        config=dict(leaves(config)),
        epochs_done=epochs_done,
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value for name, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _classes(text: str) -> Table:
    """The rows of classification_report.csv, with numbers as numbers; unknown values are None."""
    columns, *rows = csv.reader(io.StringIO(text, newline=""))
    name = columns.index("name")
    return Table(columns, [[cell if k == name else _value(cell) for k, cell in enumerate(row)] for row in rows])


def _value(cell: str) -> float | int | None:
    if not cell:
        return None
    return int(cell) if cell.isdecimal() else float(cell)
