"""What can be said of logits: metrics of the classes, adjustments, the whole report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

from cifar_imbalance.configuration import fields
from cifar_imbalance.configuration.consistency import needs_validation
from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence import metrics
from cifar_imbalance.evidence.adjustment import Given, fit
from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.library import arguments
from cifar_imbalance.library.arguments import Array
from cifar_imbalance.library.settings import of_choice
from cifar_imbalance.report.write import write_report


class LogitsAndLabels(Metric):
    """The logits and labels of all batches since `reset`: a torchmetrics metric, which gathers them over processes.

    `update(logits, labels)` takes a batch, [batch, K] and [batch]; `compute()` returns all, as float32 [n, K] and int64
    [n] of numpy, which the functions below take.
    """

    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        arguments.check_batch(logits, labels)
        self.logits.append(logits.detach().float())
        self.labels.append(labels.long())

    def compute(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if not len(self.logits):
            raise UsageError("LogitsAndLabels has no batch: update(logits, labels) takes one")
        # torchmetrics leaves one tensor, not a list, where it gathered them over processes
        logits, labels = (
            torch.cat(state) if isinstance(state, list) else state for state in (self.logits, self.labels)
        )
        return logits.cpu().numpy(), labels.cpu().numpy()


def class_metrics(logits: Array, labels: Array, *, counts: Array | None = None) -> ClassMetrics:
    """Metrics of each class, arrays [K], of logits [n, K] and labels [n].

    recall, precision, f1, false_positive_rate, support (images of the class), predicted_count, and `worst_first`, the
    classes by rising recall. A class without images has NaN. `counts` [K], training images of each class, are kept.
    """
    return metrics.class_metrics(_predictions(logits, labels, counts=counts))


def summarize(logits: Array, labels: Array, *, class_names: Any = None, counts: Array | None = None) -> dict[str, Any]:
    """The metrics of all classes together, ready for JSON and by the names of a run's summary.json.

    accuracy, macro_f1, worst_class, worst_recall, worst_decile_recall, best_decile_recall, recall_sd, geometric_mean,
    calibration_error, most_confused ([true class, predicted class, share of the true class's images]) and more; with
    `counts` [K] also the recall of `groups`: many, medium and few training images.
    """
    predictions = _predictions(logits, labels, class_names=class_names, counts=counts)
    return {**metrics.summarize(predictions), "most_confused": metrics.most_confused(predictions)}


@dataclass(frozen=True, eq=False)
class FittedAdjustment:
    """New logits are `scale` z + `bias`, of a function call with logits z [n, K]."""

    scale: NDArray[np.float64]  # [K], or [1]: the same for all classes
    bias: NDArray[np.float64]  # [K] or [1]
    fitted: dict[str, float]  # tau or temperature, where the numbers come from one
    classes: int  # K

    @overload
    def __call__(self, logits: Tensor) -> Tensor: ...

    @overload
    def __call__(self, logits: ArrayLike) -> NDArray[np.float32]: ...

    def __call__(self, logits: Array) -> Tensor | NDArray[np.float32]:
        """float32 [n, K]; a tensor for a tensor, on its device."""
        if not isinstance(logits, Tensor):
            given = arguments.logits(logits, classes=self.classes)
            return (given * self.scale + self.bias).astype(np.float32)
        if logits.ndim != 2 or logits.shape[1] != self.classes:
            raise UsageError(f"logits have shape {list(logits.shape)}: expected [images, classes = {self.classes}]")
        scale, bias = (torch.from_numpy(values).to(logits.device, torch.float32) for values in (self.scale, self.bias))
        return logits.float() * scale + bias


def adjustment(
    name: str,
    logits: Array | None = None,
    labels: Array | None = None,
    *,
    counts: Array | None = None,
    **settings: Any,
) -> FittedAdjustment:
    """An adjustment of logits, fitted on the `logits` [n, K] and `labels` [n] of validation images.

    class_bias, temperature, vector_scaling, and with the training images of each class, `counts` [K], logit_adjustment,
    which needs no validation images if its tau is given.
    """
    chosen = of_choice(fields.Adjust, "adjust", name, settings, without=["none", "tau_normalization"])
    if name == "logit_adjustment" and counts is None:
        raise UsageError("adjust=logit_adjustment: needs counts, the training images of each class")
    if (logits is None or labels is None) and (needs_validation(chosen) or logits is not labels):
        raise UsageError(f"adjust={name}: needs the logits and the labels of validation images")
    if logits is None or labels is None:
        images = arguments.counts(counts)
        given, classes = Given(train_images=images), len(images)
    else:
        held_out = _predictions(logits, labels, counts=counts)
        given, classes = Given(held_out, held_out.train_images), len(held_out.class_names)
    found = fit(chosen, given)
    return FittedAdjustment(found.scale, found.bias, found.fitted, classes)


def report(
    folder: str | Path,
    logits: Array,
    labels: Array,
    *,
    class_names: Any = None,
    counts: Array | None = None,
    images: Array | None = None,
) -> dict[str, Any]:
    """The whole report of logits [n, K] in `folder`: tables, plots, report.html. Returns what summary.json has.

    `images`, uint8 [n, height, width, 3], are shown where they were mistaken.
    """
    predictions, pictures = _predictions(logits, labels, class_names=class_names, counts=counts), None
    if images is not None:
        pictures = arguments.images(images, count=len(predictions.labels))
        predictions = replace(predictions, hashes=image_hashes(pictures))
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"folder={folder}: expected a folder, or a path where one can be made ({reason})") from None
    details = {"ckpt": str(folder), "split": "test"}
    return write_report(Path(folder), predictions, [], chosen_epoch=None, details=details, images=pictures)


def _predictions(logits: Array, labels: Array, *, class_names: Any = None, counts: Array | None = None) -> Predictions:
    found, of_images = arguments.logits(logits), arguments.labels(labels)
    classes, indices = found.shape[-1] if found.ndim else 0, np.arange(len(of_images), dtype=np.int64)
    try:
        bare = Predictions(
            logits=found,
            labels=of_images,
            indices=indices,
            hashes=indices.astype(np.uint64),
            class_names=tuple(map(str, range(classes))),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return replace(
        bare,
        class_names=bare.class_names if class_names is None else arguments.class_names(class_names, classes=classes),
        train_images=None if counts is None else arguments.counts(counts, classes=classes),
    )
