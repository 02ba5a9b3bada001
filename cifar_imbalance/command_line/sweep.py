"""A sweep's folder and its table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cifar_imbalance import atomic
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
    begun: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def label(self, number: int) -> str:
        """`job 2 of 4: seed=0 augmentation=flip` of the job `number`, from 0."""
        words = " ".join(f"{name}={value}" for name, value in self._values(number).items())
        return f"job {number + 1} of {len(self.jobs)}: {words}".rstrip(" :")

    def add(self, number: int, run: Path) -> None:
        """Write sweep.csv with the results in the report of the job's folder; a job that failed has none."""
        row: dict[str, Any] = {"job": number + 1, **self._values(number)}
        summary = run / "report" / "summary.json"
        if summary.is_file():
            found = read_json(summary, dict.fromkeys(METRICS, float))
            row |= {name: round(found[name], 4) for name in METRICS}
        self.rows.append({**row, "folder": str(run)})
        text = io.StringIO()
        writer = csv.DictWriter(text, ["job", *self.swept, *METRICS, "folder"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        atomic.write_text(self.folder / "sweep.csv", text.getvalue())

    def table(self) -> str:
        """The jobs and their results in columns."""
        columns = ["job", *self.swept, *METRICS]
        cells = [columns, *([str(row.get(name, "-")) for name in columns] for row in self.rows)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(columns))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)

    def result(self) -> str:
        """The table, where it is, and which jobs never began."""
        waiting = len(self.jobs) - self.begun if self.begun else 0  # none begins here if another launcher runs them
        lines = [self.table(), f"sweep: {(self.folder / 'sweep.csv').absolute()}"] if self.rows else []
        if waiting:
            first = self.begun + 1
            lines.append(f"not begun: job {first}" if waiting == 1 else f"not begun: jobs {first} to {len(self.jobs)}")
        return "\n".join(lines)

    def _values(self, number: int) -> dict[str, str]:
        typed = dict(text.partition("=")[::2] for text in self.jobs[number])
        return {name: typed[name] for name in self.swept}
