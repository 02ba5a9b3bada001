"""The teacher of a run: saved logits of its training images, and how much each class learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.data.experiment_data import ExperimentData
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import class_metrics
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runs.teacher import logits_sha256


class Teacher(NamedTuple):
    logits: Float32[np.ndarray, "images classes"]  # of the training images, in their order
    share: Float[np.ndarray, " classes"]  # of the loss that comes from the teacher, 0 to 1


def load_teacher(config: TrainConfig, data: ExperimentData) -> Teacher | None:
    """The logits that config.teacher saved of the training images; None without a teacher.

    With `distillation.trust=by_recall` a class's share is that of all times the teacher's recall of it on validation
    images. Raises UsageError if the teacher knows other classes, lacks images or has learnt from held-out ones.
    """
    if config.teacher is None:
        return None
    train, owner, folder = data.train, f"teacher={config.teacher}", RunFolder(Path(config.teacher))
    if logits_sha256(folder.path, config.distillation.trust) != config.teacher_sha256:
        raise UsageError(f"{owner}: its logits were changed since this run was started (teacher_sha256)")
    saved = _of_these_classes(folder, "train", config, data)
    order = np.argsort(saved.hashes, kind="stable")
    places = np.searchsorted(saved.hashes, train.hashes, sorter=order).clip(max=len(order) - 1)
    found = order[places]
    same = "the same data set, split and subset are expected"
    if lacking := int((saved.hashes[found] != train.hashes).sum()):
        raise UsageError(f"{owner}: it has no logits of {lacking} of the {len(train.hashes)} training images; {same}")
    if data.validation is not None and data.validation is not data.test:
        known = np.isin(data.validation.hashes, saved.hashes) & ~np.isin(data.validation.hashes, train.hashes)
        if known.any():
            raise UsageError(f"{owner}: it has learnt from {known.sum()} of the validation images; {same}")
    share = np.full(len(train.class_names), 1.0 - config.distillation.hard_share)
    if config.distillation.trust == "by_recall":
        recall = class_metrics(_of_these_classes(folder, "validation", config, data)).recall
        share = share * np.nan_to_num(recall, nan=float(np.nanmean(recall)))
    return Teacher(saved.logits[found], share)


def _of_these_classes(folder: RunFolder, split: str, config: TrainConfig, data: ExperimentData) -> Predictions:
    saved = Predictions.load(folder.predictions(split))
    if saved.class_names != tuple(data.train.class_names):
        raise UsageError(f"teacher={config.teacher}: its classes are not those of dataset={config.dataset.name}")
    return saved
