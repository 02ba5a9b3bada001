"""The teacher of a run: saved logits of its training images, and how much each class learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import class_metrics
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder


class Teacher(NamedTuple):
    logits: Float32[np.ndarray, "images classes"]  # of the training images, in their order
    share: Float[np.ndarray, " classes"]  # of the loss that comes from the teacher, 0 to 1


def load_teacher(config: TrainConfig, train: ImageSet) -> Teacher | None:
    """The logits that config.teacher saved of the training images; None without a teacher.

    With `distillation.trust=by_recall` a class's share is that of all times the teacher's recall of it on validation
    images. Raises UsageError if the teacher knows other classes or lacks images.
    """
    if config.teacher is None:
        return None
    owner, folder = f"teacher={config.teacher}", RunFolder(Path(config.teacher))
    saved = Predictions.load(folder.predictions("train"))
    if saved.class_names != tuple(train.class_names):
        raise UsageError(f"{owner}: its classes are not those of dataset={config.dataset.name}")
    order = np.argsort(saved.hashes, kind="stable")
    places = np.searchsorted(saved.hashes, train.hashes, sorter=order).clip(max=len(order) - 1)
    found = order[places]
    if lacking := int((saved.hashes[found] != train.hashes).sum()):
        raise UsageError(
            f"{owner}: it has no logits of {lacking} of the {len(train.hashes)} training images; the same data set, "
            "split and subset are expected"
        )
    share = np.full(len(train.class_names), 1.0 - config.distillation.hard_share)
    if config.distillation.trust == "by_recall":
        recall = class_metrics(Predictions.load(folder.predictions("validation"))).recall
        share = share * np.nan_to_num(recall, nan=float(np.nanmean(recall)))
    return Teacher(saved.logits[found], share)
