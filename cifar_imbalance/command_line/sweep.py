"""A sweep's folder and its table; several processes may share one, each job being trained by one of them."""

from __future__ import annotations

import csv
import glob
import io
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cifar_imbalance import atomic, locks
from cifar_imbalance.configuration.differences import fingerprint, is_execution_field
from cifar_imbalance.configuration.typed import as_override
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.folder import RunFolder, runs_in
from cifar_imbalance.runs.stored import read_json, sealed

IN_TURN = "basic"  # Hydra's own launcher, which runs one job after the other in its process
METRICS = ("accuracy", "macro_f1", "worst_decile_recall", "worst_recall")


def free_folder(path: Path) -> Path:
    """Create the folder of a sweep, with a number appended if another one has it: two may start in the same second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    attempt, number = path, 1
    while True:
        try:
            attempt.mkdir()
            return attempt
        except FileExistsError:
            number += 1
            attempt = path.with_name(f"{path.name}_{number}")


def this_process() -> tuple[str, int]:
    """The machine, and the number of the process on it."""
    return platform.node(), os.getpid()


@dataclass(frozen=True)
class Outcome:
    """How a job ended, wherever it ran."""

    folder: Path | None  # of its run or results; None if it failed before there was one
    failed: str | None = None  # why
    log: Path | None = None  # of a job that failed


@dataclass
class Sweep:
    """The jobs of a sweep, with what was swept, and their results."""

    swept: list[str]  # fields and groups with several values
    jobs: list[list[str]]  # the overrides of each job
    folder: Path  # absolute
    subdirs: list[str]  # of the jobs in `folder`
    fingerprints: list[str]  # of the jobs' configurations; none if they are not of training
    has_results: bool
    launcher: str
    opens_page: bool = False  # at the end, once
    started_by: tuple[str, int] = field(default_factory=this_process)
    waiting: list[int] = field(init=False)  # the jobs, from 0, that an earlier sweep in `folder` has not finished
    begun: int = 0  # how many of `waiting`
    ended: set[int] = field(default_factory=set)  # the jobs of which this process knows that they ended
    results: dict[int, dict[str, Any]] = field(default_factory=dict)  # METRICS by the job's number, from 0
    _runs: dict[int, Path] = field(default_factory=dict)  # what `run_of` has found

    def __post_init__(self) -> None:
        self.waiting = list(range(len(self.jobs)))
        if self.fingerprints and self.folder.is_dir():
            runs = {fingerprint(run.read_config()): run for run in runs_in(self.folder)}
            known = {n: runs[print_] for n, print_ in enumerate(self.fingerprints) if print_ in runs}
            self._runs = {number: run.path for number, run in known.items()}
            self.waiting = [n for n in self.waiting if not (n in known and known[n].is_finished)]

    def to_launch(self, number: int) -> list[str]:
        """The overrides of a job, with its folder, which does not depend on how many others are launched.

        Without Hydra's own, which it adds itself.
        """
        own = [text for text in self.jobs[number] if not text.lstrip("+").startswith("hydra")]
        places = {"hydra.sweep.dir": str(self.folder), "hydra.sweep.subdir": self.subdirs[number]}
        return [*own, *(as_override(name, value) for name, value in places.items())]

    # ---------------------------------------------------------------- how jobs ended
    def _outcome_file(self, number: int) -> Path:
        name = self.fingerprints[number][:16] if self.fingerprints else f"job_{number + 1}"
        return self.folder / ".ended" / f"{name}.json"

    def forget_outcomes(self) -> None:
        """Before the waiting jobs are launched: what an earlier sweep in this folder recorded of them."""
        for number in self.waiting:
            self._outcome_file(number).unlink(missing_ok=True)

    def record(self, number: int, outcome: Outcome) -> None:
        """Record how a job ended, for the process that started the sweep, which may be on another machine."""
        file = self._outcome_file(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(file, sealed({k: v if v is None else str(v) for k, v in asdict(outcome).items()}))

    def outcome(self, number: int) -> Outcome | None:
        """How a job ended; None if it is not recorded."""
        if not (file := self._outcome_file(number)).is_file():
            return None
        stored = read_json(file, dict.fromkeys(("folder", "failed", "log"), str | None))
        folder, log = (None if stored[name] is None else Path(stored[name]) for name in ("folder", "log"))
        return Outcome(folder, stored["failed"], log)

    # ---------------------------------------------------------------- where jobs are
    def run_of(self, number: int) -> Path | None:
        """The folder of a job's run, once it has begun, or of its results; None if there is none.

        A run is the job's if it has its configuration: in the job's place, with a number appended or not, or that of
        another process's sweep in this folder.
        """
        if (known := self._runs.get(number)) is not None and known.is_dir():
            return known
        outcome = self.outcome(number)
        places = [outcome.folder] if outcome is not None and outcome.folder is not None else []
        if self.fingerprints:
            place = self._place(number)
            others = place.parent.glob(f"{glob.escape(place.name)}_*") if RunFolder(place).config.is_file() else ()
            places = [run for run in (*places, place, *sorted(others)) if self._is_run_of(number, RunFolder(run))]
        if not places:
            return None
        self._runs[number] = places[0]
        return places[0]

    def finished_runs(self) -> list[RunFolder]:
        """The runs of the jobs of training that have finished, in the order of the jobs."""
        found = [self.run_of(number) for number in range(len(self.jobs))] if self.fingerprints else []
        runs = [RunFolder(path) for path in dict.fromkeys(found) if path is not None]
        return [run for run in runs if run.is_finished]

    def group_by(self) -> list[str]:
        """What was swept beside the seed: by these, the runs are those of a group for each combination of values."""
        return [name for name in self.swept if name != "seed" and not is_execution_field(name)] or ["experiment"]

    def _place(self, number: int) -> Path:
        """Where Hydra makes a folder for a job that has not begun."""
        return self.folder / self.subdirs[number]

    def _is_run_of(self, number: int, run: RunFolder) -> bool:
        try:
            return run.config.is_file() and fingerprint(run.read_config()) == self.fingerprints[number]
        except UsageError:  # damaged, or not of a run
            return False

    def log_of(self, number: int, name: str) -> Path:
        """Where the log of a job is, or is to be: in its run's folder or its place, unless another run is there."""
        if run := self.run_of(number):
            return run / name
        if self.fingerprints and RunFolder(self._place(number)).config.is_file():
            return self._outcome_file(number).with_suffix(".log")
        return self._place(number) / name

    def failure(self, number: int, outcome: Outcome) -> str:
        return f"{self.label(number)}: failed: {outcome.failed}; see {outcome.log}"

    @contextmanager
    def held(self, number: int) -> Iterator[bool]:
        """Hold the job `number` (from 0), so that no other process of this sweep trains it; False if one does."""
        if not self.fingerprints:  # nothing that is not trained is gone on with
            yield True
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".jobs").open("a") as file:
            place = int(self.fingerprints[number][:12], 16)  # a byte for each job, of a file that is empty
            yield locks.acquire(file, place=place)

    def label(self, number: int) -> str:
        """`job 2 of 4: seed=0 augmentation=flip` of the job `number`, from 0."""
        words = " ".join(f"{name}={value}" for name, value in self._values(number).items())
        return f"job {number + 1} of {len(self.jobs)}: {words}".rstrip(" :")

    def add(self, number: int, outcome: Outcome) -> None:
        """Write sweep.csv after a job has ended."""
        self.ended.add(number)
        self.results.pop(number, None)
        if outcome.folder is not None:
            self._runs[number] = outcome.folder
        if self.has_results:
            self._write(self._rows())

    def _write(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, ["job", *self.swept, *METRICS, "folder"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic.write_text(self.folder / "sweep.csv", text.getvalue())

    def _rows(self) -> list[dict[str, Any]]:
        """A row for each job that has begun or ended; one that failed, or is not finished, has no results."""
        rows: list[dict[str, Any]] = []
        for number in range(len(self.jobs) if self.has_results else 0):
            run = self.run_of(number)
            if run is None and number not in self.ended:
                continue
            summary = None if run is None else RunFolder(run).summary
            if number not in self.results and summary is not None and summary.is_file():
                found = read_json(summary, dict.fromkeys(METRICS, float))
                self.results[number] = {name: round(found[name], 4) for name in METRICS}
            results = self.results.get(number, {})
            rows.append({"job": number + 1, **self._values(number), **results, "folder": run.absolute() if run else ""})
        return rows

    def result(self) -> str:
        """The table of the jobs and their results, and where it is."""
        lines = []
        if rows := self._rows():
            columns = ["job", *self.swept, *METRICS]
            cells = [columns, *([str(row.get(name, "-")) for name in columns] for row in rows)]
            widths = [max(len(row[k]) for row in cells) for k in range(len(columns))]
            lines = ["  ".join(c.rjust(width) for c, width in zip(row, widths, strict=True)) for row in cells]
            self._write(rows)
            lines.append(f"sweep: {(self.folder / 'sweep.csv').absolute()}")
        return "\n".join(lines)

    def _values(self, number: int) -> dict[str, str]:
        typed = dict(text.partition("=")[::2] for text in self.jobs[number])
        return {name: typed[name] for name in self.swept}
