"""The members of an ensemble: their configurations, and how many of them train at a time."""

from __future__ import annotations

import math
import shutil
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cifar_imbalance.configuration.fields import OPERATORS, Ensemble, TrainConfig
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.runs.folder import RunFolder


@dataclass(frozen=True)
class Member:
    number: int
    config: TrainConfig
    folder: RunFolder
    overrides: list[str]

    def continued(self) -> TrainConfig:
        """Its configuration, from its last checkpoint if it has one; what it wrote before its first one is removed."""
        if self.folder.checkpoint("last").is_file():
            return replace(self.config, resume=str(self.folder.path))
        if self.folder.config.is_file():
            with self.folder.held():
                shutil.rmtree(self.folder.path)
        return self.config

    def result(self) -> str:
        summary = self.folder.read_summary()
        return f"finished: accuracy {summary['accuracy']:.4f} macro_f1 {summary['macro_f1']:.4f}"


def member_configs(config: TrainConfig) -> list[TrainConfig]:
    """The configuration of each member. Seeds of ensembles with different `seed`s do not overlap."""
    return [_member(config, number) for number in range(config.ensemble.members)]


def _member(config: TrainConfig, number: int) -> TrainConfig:
    ensemble = config.ensemble
    model, augmentation, dataset = config.model, config.augmentation, config.dataset
    if ensemble.models:
        model = replace(model, name=ensemble.models[number])
    if ensemble.weights:
        model = replace(model, weights=ensemble.weights[number])
    if ensemble.augmentations:
        off: dict[str, Any] = {name: None for name in OPERATORS if name not in ensemble.augmentations[number]}
        augmentation = replace(augmentation, **off)
    if ensemble.folds:
        dataset = replace(dataset, folds=ensemble.members, without_fold=number)
    start, start_sha256 = config.start, config.start_sha256
    if start is not None:
        parent = RunFolder(Path(start))
        if parent.member(number).config.is_file():
            parent = parent.member(number)
            start, start_sha256 = str(parent.path), parent.reported_sha256()
    return replace(
        config,
        start=start,
        start_sha256=start_sha256,
        seed=config.seed * ensemble.members + number,
        resume=None,
        dataset=dataset,
        augmentation=augmentation,
        model=model,
        ensemble=Ensemble(),
    )


def workers_and_threads(ensemble: Ensemble, *, cores: int) -> tuple[int, int]:
    """Number of parallel training processes on a CPU, and threads of each.

    Throughput per core is highest with one thread, so there is one process per core; a few more if the members do not
    divide evenly by the cores, so that no core idles while the last member trains.
    """
    rounds = max(1, ensemble.members // cores)
    workers = math.ceil(ensemble.members / rounds) if ensemble.workers == "auto" else int(ensemble.workers)
    workers = min(workers, ensemble.members)
    return workers, max(1, cores // workers)


def failure(error: Exception) -> str:
    """Why a member failed, in one line."""
    if isinstance(error, UsageError | TrainingFailed):
        return str(error)
    return " ".join(traceback.format_exception_only(error)[-1].split())
