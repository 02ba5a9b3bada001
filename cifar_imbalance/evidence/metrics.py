"""Metrics from logits: how well, and how unequally, the classes are recognised.

A class without images has no recall: its metrics are NaN, it is excluded from every mean and listed separately.
A class that has images but is never predicted has precision 0, with a flag.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_accuracy,
    multilabel_f1_score,
    multilabel_precision,
    multilabel_recall,
)

from cifar_imbalance.evidence.predictions import Predictions

CALIBRATION_BINS = 15
EPOCH_METRICS = ("loss", "accuracy", "macro_f1", "worst_recall")
# torchmetrics divides in float32; digits beyond its precision would only break ties and clutter the files.
_DIGITS = 7
_CLASSES_AT_ONCE = 256
_LOGITS_AT_ONCE = 2**25
_BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Metrics of each class, arrays [K]."""

    precision: NDArray[np.float64]  # NaN: absent
    recall: NDArray[np.float64]  # NaN: absent
    f1: NDArray[np.float64]  # NaN: absent
    support: NDArray[np.int64]  # images of the class
    predicted_count: NDArray[np.int64]  # images predicted as the class
    train_images: NDArray[np.int64] | None = None  # training images of the class; None: unknown

    @property
    def absent(self) -> NDArray[np.bool_]:
        """Classes without images [K]."""
        return self.support == 0

    @property
    def never_predicted(self) -> NDArray[np.bool_]:
        """Classes that have images but were never predicted [K]."""
        return (self.predicted_count == 0) & ~self.absent

    @cached_property
    def worst_first(self) -> NDArray[np.int64]:
        """The classes that have images, by ascending recall, then F1, then index."""
        order = np.lexsort((self.f1, self.recall))
        return order[~self.absent[order]]

    def macro(self, values: NDArray[np.float64]) -> float:
        """Mean of `values` [K] over the classes that have images."""
        return _rounded(values[~self.absent].mean())

    def weighted(self, values: NDArray[np.float64]) -> float:
        """Mean of `values` [K] weighted by support."""
        present = ~self.absent
        return _rounded(np.average(values[present], weights=self.support[present]))


def class_metrics(predictions: Predictions) -> ClassMetrics:
    metrics = _class_metrics(predictions.predicted, predictions.labels, classes=len(predictions.class_names))
    return replace(metrics, train_images=predictions.train_images)


def confusion_matrix(predictions: Predictions, group: int = 1) -> NDArray[np.int64]:
    """Counts [K, K]: the row is the true class, the column the predicted one.

    With `group`, [ceil(K / group), ceil(K / group)]: counts of groups of so many classes in a row.
    """
    groups = math.ceil(len(predictions.class_names) / group)
    pairs = predictions.labels // group * groups + predictions.predicted // group
    return np.bincount(pairs, minlength=groups * groups).reshape(groups, groups)


def recall_interval(metrics: ClassMetrics) -> NDArray[np.float64]:
    """Wilson's 95 % interval of each class's recall: [2, K], low and high; NaN for absent classes."""
    interval = np.full((2, len(metrics.recall)), np.nan)
    for index in metrics.worst_first:
        images = int(metrics.support[index])
        interval[:, index] = wilson_interval(round(metrics.recall[index] * images), images)
    return interval


@cache
def wilson_interval(correct: int, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927): low, high."""
    low, high = binomtest(correct, images).proportion_ci(confidence_level=0.95, method="wilson")
    return low, high


def summarize(predictions: Predictions) -> dict[str, Any]:
    """The metrics of one evaluation, ready for JSON.

    Means are over the P classes with images. `worst_decile_recall` and `best_decile_recall` are the means of
    the ceil(P/10) lowest and highest recalls; `recall_sd` is the standard deviation of the P recalls themselves
    (divided by P, numpy's default: the classes are the population, not a sample); `recall_gini` is 0 for equal recalls.
    `worst_class` is the one of lowest recall, then lowest F1. `top5_accuracy` is present only if K > 5.
    """
    metrics, names = class_metrics(predictions), predictions.class_names
    logits, labels = torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels)
    recalls = metrics.recall[metrics.worst_first]
    decile = math.ceil(len(recalls) / 10)
    worst, best = int(metrics.worst_first[0]), int(metrics.worst_first[-1])
    top5 = {"top5_accuracy": _top_k_accuracy(logits, labels, k=5)} if len(names) > 5 else {}
    return {
        "n_images": len(labels),
        "loss": _loss(logits, labels),
        "accuracy": float(np.mean(predictions.predicted == predictions.labels)),
        **top5,
        "balanced_accuracy": metrics.macro(metrics.recall),
        "macro_precision": metrics.macro(metrics.precision),
        "macro_recall": metrics.macro(metrics.recall),
        "macro_f1": metrics.macro(metrics.f1),
        "weighted_f1": metrics.weighted(metrics.f1),
        "worst_class": {"name": names[worst], "recall": float(metrics.recall[worst])},
        "best_class": {"name": names[best], "recall": float(metrics.recall[best])},
        "worst_recall": float(recalls[0]),
        "worst_decile_recall": _rounded(recalls[:decile].mean()),
        "best_decile_recall": _rounded(recalls[-decile:].mean()),
        "recall_sd": _rounded(recalls.std()),
        "recall_gini": _gini(recalls),
        "calibration_error": _calibration_error(logits, labels),
        "absent_classes": [names[index] for index in np.flatnonzero(metrics.absent)],
        "never_predicted_classes": [names[index] for index in np.flatnonzero(metrics.never_predicted)],
        **_training(metrics, names),
    }


def _training(metrics: ClassMetrics, names: Sequence[str]) -> dict[str, Any]:
    """The training images of each class, and their imbalance."""
    counts = metrics.train_images
    if counts is None:
        return {}
    return {
        "imbalance_factor": _rounded(imbalance_factor(counts)),
        "train_images_of_classes": {name: int(count) for name, count in zip(names, counts, strict=True)},
    }


def imbalance_factor(counts: NDArray[np.int64]) -> float:
    """Images of the largest class over images of the smallest that has any. `counts`: [K]."""
    return float(counts.max() / counts[counts > 0].min())


def epoch_metrics(
    logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[dict[str, float | None], ClassMetrics]:
    """The results in an epoch's line, from logits [n, K] and labels [n], and those of each class.

    If any logit is not finite, nothing can be said: all results are None, and those of each class NaN.
    """
    predicted = logits.argmax(axis=1)
    metrics = _class_metrics(predicted, labels, classes=logits.shape[1])
    if not np.isfinite(logits).all():
        unknown = np.full(logits.shape[1], np.nan)
        return dict.fromkeys(EPOCH_METRICS), replace(metrics, precision=unknown, recall=unknown, f1=unknown)
    values = (
        _loss(torch.from_numpy(logits), torch.from_numpy(labels)),
        float(np.mean(predicted == labels)),
        metrics.macro(metrics.f1),
        float(metrics.recall[metrics.worst_first[0]]),
    )
    return dict(zip(EPOCH_METRICS, values, strict=True)), metrics


def _class_metrics(predicted: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> ClassMetrics:
    """Per-class metrics from torchmetrics; its own means are not used, as they include absent classes.

    The images are passed as one-hot rows to its multilabel functions, which give the same metrics per class: with
    torch_xla installed its multiclass ones build an array [n, K * K], 0.8 GB for 10,000 images of 100 classes. A block
    of classes needs only the images that belong to one of them or were predicted as one; the rest of [n, K] is 0.
    """
    support, predicted_count = (np.bincount(values, minlength=classes) for values in (labels, predicted))
    blocks = []
    for first in range(0, classes, _CLASSES_AT_ONCE):
        columns = np.arange(first, min(first + _CLASSES_AT_ONCE, classes))
        near = np.isin(predicted, columns) | np.isin(labels, columns)
        near[0] = True  # torchmetrics needs a row; one that belongs to no class of the block changes nothing
        blocks.append([torch.from_numpy(values[near, None] == columns) for values in (predicted, labels)])

    def by_class(metric: Any) -> NDArray[np.float64]:
        values = torch.cat(
            [metric(*rows, num_labels=rows[0].shape[1], average="none", validate_args=False) for rows in blocks]
        )
        return np.where(support == 0, np.nan, values.double().numpy().round(_DIGITS))

    return ClassMetrics(
        precision=by_class(multilabel_precision),
        recall=by_class(multilabel_recall),
        f1=by_class(multilabel_f1_score),
        support=support,
        predicted_count=predicted_count,
    )


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean negative log-likelihood of logits [n, K]."""
    sums = [float(cross_entropy(rows.double(), of_rows, reduction="sum")) for rows, of_rows in _parts(logits, labels)]
    return sum(sums) / len(labels)


def _top_k_accuracy(logits: torch.Tensor, labels: torch.Tensor, *, k: int) -> float:
    parts = [
        float(multiclass_accuracy(rows, of_rows, num_classes=logits.shape[1], average="micro", top_k=k)) * len(rows)
        for rows, of_rows in _parts(logits, labels)
    ]
    return _rounded(sum(parts) / len(labels))


def _calibration_error(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Expected calibration error of logits [n, K] in bins of equal width."""
    parts = [rows.softmax(dim=1).max(dim=1) for rows, _ in _parts(logits, labels)]
    confidence, predicted = (torch.cat(values) for values in zip(*parts, strict=True))
    # torchmetrics has a bin of its own for a confidence of exactly 1, which belongs to the last one.
    value = binary_calibration_error(confidence.clamp(max=_BELOW_ONE), predicted == labels, n_bins=CALIBRATION_BINS)
    return _rounded(value)


def _parts(logits: torch.Tensor, labels: torch.Tensor) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Logits [n, K] and labels [n], as many rows at a time as need little memory."""
    rows = max(1, _LOGITS_AT_ONCE // logits.shape[1])
    return zip(logits.split(rows), labels.split(rows), strict=True)


def _gini(ascending: NDArray[np.float64]) -> float | None:
    """Gini coefficient of values in ascending order; None if all are 0."""
    if ascending.sum() == 0:
        return None
    ranks = np.arange(1, len(ascending) + 1)
    return _rounded(max(0.0, ((2 * ranks - len(ascending) - 1) * ascending).sum() / (len(ascending) * ascending.sum())))


def _rounded(value: float | torch.Tensor) -> float:
    return round(float(value), _DIGITS)
