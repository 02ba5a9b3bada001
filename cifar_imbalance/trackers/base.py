"""What a tracker is given, and what it has to do with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = "cifar_imbalance"
OUTPUTS = Path("outputs")  # where trackers keep what they have no folder of their own for


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers know it: the same `id` each time it is resumed, another for every other run."""

    folder: Path
    id: str
    name: str
    experiment: str
    config: Mapping[str, Any]  # by dotted path: {"optimizer.name": "adamw", ...}
    epochs_done: int  # 0: a run that begins, or a finished one, sent again from its first epoch


@dataclass(frozen=True)
class Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Tracker(ABC):
    """One service. It is made when a run starts; whatever it raises is logged, and the run goes on without it.

    Without `epochs_done`, what it is sent takes the place of whatever the same run sent before.
    """

    @abstractmethod
    def __init__(self, run: TrackedRun) -> None: ...

    @abstractmethod
    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """The metrics of the epoch `step`, from 1, by the names that metrics.jsonl has."""

    @abstractmethod
    def finish(self, summary: Mapping[str, float], classes: Table, figures: Mapping[str, Path]) -> None:
        """The results of a finished run: numbers, a row for each class, PNG files by name."""

    @abstractmethod
    def close(self, *, finished: bool) -> None:
        """The end, also of a run that was interrupted or failed."""
