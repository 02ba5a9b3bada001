"""Metrics from logits: how well, and how unequally, the classes are recognised.

A class without images has no recall: its metrics are NaN, it is excluded from every mean and listed separately.
A class that has images but is never predicted has precision 0, with a flag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import binomtest
from torchmetrics.functional.classification import multilabel_stat_scores

from cifar_imbalance.evidence import bootstrap
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.probabilities import measured, parts

EPOCH_METRICS = ("loss", "accuracy", "macro_f1", "worst_recall")
GROUPS = {"many": (101, math.inf), "medium": (20, 100), "few": (1, 19)}  # training images of a class (Liu 2019)
PAIRS_LISTED = 10
MATRIX_UP_TO = 2000  # classes: beyond, a confusion matrix takes too much memory
_DIGITS = 7  # of what is written
_CLASSES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Metrics of each class, arrays [K]."""

    precision: NDArray[np.float64]  # NaN: absent
    recall: NDArray[np.float64]  # NaN: absent
    f1: NDArray[np.float64]  # NaN: absent
    false_positive_rate: NDArray[np.float64]  # of the images of other classes, those predicted as the class
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
        return rounded(values[~self.absent].mean())

    def weighted(self, values: NDArray[np.float64]) -> float:
        """Mean of `values` [K] weighted by support."""
        present = ~self.absent
        return rounded(np.average(values[present], weights=self.support[present]))


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
    `worst_class` is the one of lowest recall, then lowest F1. `top5_accuracy` is present only if K > 5. The geometric
    mean of recalls is 0 if one of them is; in `geometric_mean_floored` a recall is at least 1 / (2 n_k).
    """
    metrics, names = class_metrics(predictions), predictions.class_names
    probabilities = measured(predictions)
    recalls = metrics.recall[metrics.worst_first]
    decile = math.ceil(len(recalls) / 10)
    worst, best = int(metrics.worst_first[0]), int(metrics.worst_first[-1])
    floored = np.maximum(recalls, 1 / (2 * metrics.support[metrics.worst_first]))
    top5 = {"top5_accuracy": rounded(probabilities.top5)} if len(names) > 5 else {}
    return {
        "n_images": len(predictions.labels),
        "loss": probabilities.loss,
        "brier": rounded(probabilities.brier),
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
        "worst_decile_recall": rounded(recalls[:decile].mean()),
        "best_decile_recall": rounded(recalls[-decile:].mean()),
        "decile_gap": rounded(recalls[-decile:].mean() - recalls[:decile].mean()),
        "recall_sd": rounded(recalls.std()),
        "recall_cv": rounded(recalls.std() / recalls.mean()) if recalls.any() else None,
        "recall_gini": _gini(recalls),
        "harmonic_mean": rounded(_harmonic_mean(recalls)),
        "geometric_mean": rounded(_geometric_mean(recalls)),
        "geometric_mean_floored": rounded(_geometric_mean(floored)),
        "calibration_error": rounded(probabilities.calibration_error),
        "calibration_error_equal_mass": rounded(probabilities.calibration_error_equal_mass),
        "classwise_calibration_error": rounded(probabilities.calibration_errors.mean()),
        "absent_classes": [names[index] for index in np.flatnonzero(metrics.absent)],
        "never_predicted_classes": [names[index] for index in np.flatnonzero(metrics.never_predicted)],
        **_training(metrics, names),
    }


def intervals_and_confusions(predictions: Predictions) -> dict[str, Any]:
    """95 % intervals by bootstrap over the images, and the most frequent confusions, ready for JSON.

    A metric that is the same in every draw, as where all images are right, has no interval: few images do not prove it.
    Of more than MATRIX_UP_TO classes there is neither.
    """
    if len(predictions.class_names) > MATRIX_UP_TO:
        return {}
    intervals = bootstrap.intervals(confusion_matrix(predictions))
    return {
        "intervals": {name: [rounded(low), rounded(high)] for name, (low, high) in intervals.items() if low < high},
        "most_confused": most_confused(predictions),
    }


def most_confused(predictions: Predictions) -> list[list[Any]]:
    """The PAIRS_LISTED most frequent confusions: true class, predicted class, share of the true class's images."""
    labels, names = predictions.labels, predictions.class_names
    wrong = predictions.predicted != labels
    pairs, images = np.unique(labels[wrong] * len(names) + predictions.predicted[wrong], return_counts=True)
    support, found = np.bincount(labels), []
    for place in np.argsort(-images, kind="stable")[:PAIRS_LISTED]:
        true, predicted = divmod(int(pairs[place]), len(names))
        found.append([names[true], names[predicted], rounded(images[place] / support[true])])
    return found


def _harmonic_mean(values: NDArray[np.float64]) -> float:
    return 0.0 if (values == 0).any() else float(len(values) / (1 / values).sum())


def _geometric_mean(values: NDArray[np.float64]) -> float:
    return 0.0 if (values == 0).any() else float(np.exp(np.log(values).mean()))


def _training(metrics: ClassMetrics, names: Sequence[str]) -> dict[str, Any]:
    """The training images of each class, and their imbalance."""
    counts = metrics.train_images
    if counts is None:
        return {}
    groups = {name: (low <= counts) & (counts <= high) & ~metrics.absent for name, (low, high) in GROUPS.items()}
    return {
        "imbalance_factor": rounded(imbalance_factor(counts)),
        "groups": {
            name: {"classes": int(of.sum()), "recall": rounded(metrics.recall[of].mean()) if of.any() else None}
            for name, of in groups.items()
        },
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
        _loss(logits, labels),
        float(np.mean(predicted == labels)),
        metrics.macro(metrics.f1),
        float(metrics.recall[metrics.worst_first[0]]),
    )
    return dict(zip(EPOCH_METRICS, values, strict=True)), metrics


def _loss(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of logits [n, K]."""
    total = 0.0
    for start, stop in parts(*logits.shape):
        log_p = log_softmax(logits[start:stop].astype(np.float64), axis=1)
        total -= log_p[np.arange(stop - start), labels[start:stop]].sum()
    return float(total / len(labels))


def _class_metrics(predicted: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> ClassMetrics:
    """The metrics of each class from torchmetrics' counts of right and wrong answers.

    The images are passed as one-hot rows to its multilabel function, which counts the same for each class: with
    torch_xla installed its multiclass ones build an array [n, K * K], 0.8 GB for 10,000 images of 100 classes. A block
    of classes needs only the images that belong to one of them or were predicted as one; the rest of [n, K] is 0.
    """
    blocks = []
    for first in range(0, classes, _CLASSES_AT_ONCE):
        columns = np.arange(first, min(first + _CLASSES_AT_ONCE, classes))
        near = np.isin(predicted, columns) | np.isin(labels, columns)
        near[0] = True  # torchmetrics needs a row; one that belongs to no class of the block changes nothing
        answers, truth = (torch.from_numpy(values[near, None] == columns) for values in (predicted, labels))
        counts = multilabel_stat_scores(answers, truth, num_labels=len(columns), average="none", validate_args=False)
        blocks.append(counts.numpy().reshape(-1, 5))
    right, wrongly, _, _, support = np.concatenate(blocks).T.astype(np.int64)
    with np.errstate(invalid="ignore"):
        shares = right / np.maximum(right + wrongly, 1), right / support, 2 * right / (right + wrongly + support)
        false_positive_rate = wrongly / (len(labels) - support)
    precision, recall, f1 = (np.where(support == 0, np.nan, values) for values in shares)
    return ClassMetrics(precision, recall, f1, false_positive_rate, support, right + wrongly)


def _gini(ascending: NDArray[np.float64]) -> float | None:
    """Gini coefficient of values in ascending order; None if all are 0."""
    if ascending.sum() == 0:
        return None
    ranks = np.arange(1, len(ascending) + 1)
    return rounded(max(0.0, ((2 * ranks - len(ascending) - 1) * ascending).sum() / (len(ascending) * ascending.sum())))


def rounded(value: float) -> float:
    return round(float(value), _DIGITS)
