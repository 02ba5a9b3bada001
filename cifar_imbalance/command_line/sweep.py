"""A sweep's folder and its table; several processes may share one, each job being trained by one of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cifar_imbalance import atomic, locks
from cifar_imbalance.configuration.differences import fingerprint
from cifar_imbalance.runs.folder import runs_in
from cifar_imbalance.runs.stored import read_json

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


@dataclass
class Sweep:
    """The jobs of a sweep, with what was swept, and their results."""

    swept: list[str]  # fields and groups with several values
    jobs: list[list[str]]  # the overrides of each job
    folder: Path
    folders: list[Path]  # of the jobs, unless an earlier sweep in `folder` has a run of the same configuration
    fingerprints: list[str]  # of the jobs' configurations; none if they are not of training
    begun: int = 0
    finished: dict[int, dict[str, Any]] = field(default_factory=dict)  # results by the job's number, from 0

    def __post_init__(self) -> None:
        if self.fingerprints and self.folder.is_dir():
            runs = {fingerprint(run.read_config()): run.path for run in runs_in(self.folder)}
            for number, value in enumerate(self.fingerprints):
                self.folders[number] = runs.get(value, self.folders[number])

    @contextmanager
    def held(self, number: int) -> Iterator[bool]:
        """Hold the job `number` (from 0), so that no other process of this sweep trains it; False if one does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".jobs").open("a") as file:
            try:
                place = int(self.fingerprints[number][:12], 16)  # a byte for each job, of a file that is empty
                locks.lock_byte(file, place)
            except BlockingIOError:
                yield False
                return
            except OSError:  # a file system without locks
                pass
            yield True

    def label(self, number: int) -> str:
        """`job 2 of 4: seed=0 augmentation=flip` of the job `number`, from 0."""
        words = " ".join(f"{name}={value}" for name, value in self._values(number).items())
        return f"job {number + 1} of {len(self.jobs)}: {words}".rstrip(" :")

    def add(self, number: int, run: Path | None) -> None:
        """Write sweep.csv after the job `number`, whose results are in the folder `run`, or in its own."""
        if run is not None:
            self.folders[number] = run
        self._write(self._rows())

    def _write(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, ["job", *self.swept, *METRICS, "folder"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic.write_text(self.folder / "sweep.csv", text.getvalue())

    def _rows(self) -> list[dict[str, Any]]:
        """A row for each job that has a folder; one that failed, or is not finished, has no results."""
        rows = []
        for number, run in enumerate(self.folders):
            summary = run / "report" / "summary.json"
            if number not in self.finished and summary.is_file():
                found = read_json(summary, dict.fromkeys(METRICS, float))
                self.finished[number] = {name: round(found[name], 4) for name in METRICS}
            if run.is_dir():
                results = self.finished.get(number, {})
                rows.append({"job": number + 1, **self._values(number), **results, "folder": str(run.absolute())})
        return rows

    def result(self) -> str:
        """The table of the jobs and their results, where it is, and which jobs never began."""
        lines = []
        if rows := self._rows():
            columns = ["job", *self.swept, *METRICS]
            cells = [columns, *([str(row.get(name, "-")) for name in columns] for row in rows)]
            widths = [max(len(row[k]) for row in cells) for k in range(len(columns))]
            lines = ["  ".join(c.rjust(width) for c, width in zip(row, widths, strict=True)) for row in cells]
            self._write(rows)
            lines.append(f"sweep: {(self.folder / 'sweep.csv').absolute()}")
        waiting = len(self.jobs) - self.begun if self.begun else 0  # none begins here if another launcher runs them
        if waiting:
            first = self.begun + 1
            lines.append(f"not begun: job {first}" if waiting == 1 else f"not begun: jobs {first} to {len(self.jobs)}")
        return "\n".join(lines)

    def _values(self, number: int) -> dict[str, str]:
        typed = dict(text.partition("=")[::2] for text in self.jobs[number])
        return {name: typed[name] for name in self.swept}
