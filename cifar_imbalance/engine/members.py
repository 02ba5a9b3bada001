"""An ensemble's members as configurations of single runs, and how many of them train at a time."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar_imbalance.configuration.fields import OPERATORS, Ensemble, TrainConfig
from cifar_imbalance.runs.folder import RunFolder


def member_configs(config: TrainConfig) -> list[TrainConfig]:
    """What each member's own config.yaml says. Seeds of ensembles with other `seed`s do not overlap."""
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
        if parent.read_config().ensemble.members > 1:
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
    """Processes that train side by side on a CPU, and threads of each.

    A core gives most to a process of one thread, so there is a process for each core; a few more where the members do
    not divide by the cores, rather than that cores idle while the last member trains.
    """
    rounds = max(1, ensemble.members // cores)
    workers = math.ceil(ensemble.members / rounds) if ensemble.workers == "auto" else int(ensemble.workers)
    workers = min(workers, ensemble.members)
    return workers, max(1, cores // workers)


def cores_of(threads: int | None) -> int:
    """`runtime.threads`, or the cores that this process may use."""
    return threads or len(os.sched_getaffinity(0))
