"""Sweeps: composing many jobs that differ little, a folder for each sweep, and its table."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from cifar_imbalance import atomic
from cifar_imbalance.configuration.overrides import CONF, parse
from cifar_imbalance.configuration.schema import field_paths
from cifar_imbalance.runs.stored import read_json

METRICS = ("accuracy", "macro_f1", "worst_decile_recall", "worst_recall")


# ---------------------------------------------------------------- composing
class Composer:
    """What Hydra composes from overrides. Jobs that differ in single values alone share a composition.

    They share it as an object, too: a call sets its values in it, so that what was returned before has changed.
    """

    def __init__(self, name: str, schema: type, searchpath: list[str]) -> None:
        self._name = name
        self._fields = field_paths(schema)
        self._searchpath = searchpath
        self._found: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}  # and an unchanged copy
        self._changed: set[str] = set()

    def __call__(self, overrides: Sequence[str], number: int = 0) -> DictConfig:
        """The composed configuration of the job `number`, with Hydra's own part. Raises what Hydra raises."""
        values = self._values(parse(overrides))
        texts = {str(override.input_line) for override in values}
        composed, own = self._composed(tuple(text for text in overrides if text not in texts))
        for name in self._changed - {override.key_or_group for override in values}:
            OmegaConf.update(composed, name, OmegaConf.select(own, name))
        for override in values:
            OmegaConf.update(composed, override.key_or_group, override.value())
            self._changed.add(override.key_or_group)
        OmegaConf.set_readonly(composed.hydra, False)
        composed.hydra.job.num = number
        composed.hydra.overrides.task = [text for text in overrides if not text.startswith("hydra")]
        OmegaConf.set_readonly(composed.hydra, True)
        return composed

    def _values(self, overrides: Sequence[Override]) -> list[Override]:
        """Those that set a single value, which no null, list or block of another override can replace."""
        single = [override for override in overrides if self._is_value(override)]
        others = [o.key_or_group for o in overrides if o not in single and not (CONF / o.key_or_group).is_dir()]
        return [o for o in single if not any(f"{o.key_or_group}.".startswith(f"{other}.") for other in others)]

    def _is_value(self, override: Override) -> bool:
        value = override.value() if override.key_or_group in self._fields else None
        return isinstance(value, str | bool | int | float) and not (CONF / override.key_or_group).is_dir()

    def _composed(self, overrides: tuple[str, ...]) -> tuple[DictConfig, DictConfig]:
        if overrides not in self._found:
            with initialize_config_dir(str(CONF), version_base="1.3"):
                words = [*overrides, *self._searchpath]
                composed = compose(self._name, words, return_hydra_config=True)
            self._found[overrides] = composed, copy.deepcopy(composed)
        return self._found[overrides]


# ---------------------------------------------------------------- the sweep's folder and table
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
    rows: list[dict[str, Any]] = field(default_factory=list)

    def label(self, number: int) -> str:
        """`job 2 of 4: seed=0 augmentation=flip` of the job `number`, from 0."""
        words = " ".join(f"{name}={value}" for name, value in self._values(number).items())
        return f"job {number + 1} of {len(self.jobs)}: {words}".rstrip(" :")

    def add(self, number: int, run: Path | None) -> None:
        """Write sweep.csv with the results in `run`'s report; a job without one has none."""
        row: dict[str, Any] = {"job": number + 1, **self._values(number)}
        summary = None if run is None else run / "report" / "summary.json"
        if summary is not None and summary.is_file():
            found = read_json(summary, METRICS)
            row |= {name: round(found[name], 4) for name in METRICS}
        self.rows.append({**row, "folder": "" if run is None else str(run)})
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

    def _values(self, number: int) -> dict[str, str]:
        typed = dict(text.partition("=")[::2] for text in self.jobs[number])
        return {name: typed[name] for name in self.swept}
