"""What a program of the command line is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cifar_imbalance.command_line.sweep import Sweep
from cifar_imbalance.configuration.fields import EvaluateConfig, TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.schema import field_paths
from cifar_imbalance.runs.folder import RunFolder

# Writes the report of a sweep, of its folder, finished runs, the fields to group them by, and its command; returns the
# names of the groups.
Report = Callable[[Path, list[RunFolder], list[str], str], list[str]]


@dataclass
class Program:
    """One of the programs: how its configuration is checked, and what runs it."""

    name: str
    typed: str  # the prefix of its messages
    schema: type
    checked: Callable[[DictConfig, list[str]], Any]
    run: Callable[[Any, Path, list[str]], Path | None]  # returns the folder of a run with results
    report: Report | None = None  # of a sweep; None if its jobs are no runs
    positional: str | None = None  # the field that a word without = is the value of
    unused: tuple[str, ...] = ()  # fields and blocks of the schema that have no effect here
    space: list[str] | None = None  # of a search: FIELD=interval(LOW,HIGH) and the like, which Hydra does not see
    config_dir: Path | None = None  # of --config-dir
    failures: list[str] = field(default_factory=list)
    existing: set[Path] = field(default_factory=set)  # folders that were there
    sweep: Sweep | None = None

    @property
    def searchpath(self) -> list[str]:
        """What Hydra is told to find the files of --config-dir."""
        return [] if self.config_dir is None else [f"hydra.searchpath=[file://{self.config_dir}]"]

    @property
    def has_results(self) -> bool:
        return self.schema in (TrainConfig, EvaluateConfig)

    def takes(self, path: str) -> bool:
        """Whether the field or the block of fields at the dotted `path` has an effect."""
        return not any(f"{path}.".startswith(f"{one}.") for one in self.unused)

    def groups(self, extra_folder: str | None = None) -> dict[str, list[str]]:
        """The groups of this program and their choices: {'experiment': ['custom', ..., 'ltbench/ce', ...], ...}."""
        groups: dict[str, list[str]] = {}
        for root in [CONF, *([Path(extra_folder)] if extra_folder else [])]:
            for file in sorted(root.rglob("*.yaml")):
                group, _, choice = file.relative_to(root).with_suffix("").as_posix().partition("/")
                if choice and group in field_paths(self.schema) and self.takes(f"{group}.name"):
                    groups.setdefault(group, []).append(choice)
        return dict(sorted(groups.items()))
