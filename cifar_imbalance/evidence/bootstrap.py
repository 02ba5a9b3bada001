"""Intervals by bootstrap over the test images, stratified by class (Efron 1979): percentiles of keyed draws.

To draw n_k of a class's n_k images with replacement is to draw a row of the confusion matrix from a multinomial
distribution, so that 2,000 draws of all classes take about a second. Minima are biased: resampling adds noise to each
recall, so that the intervals of the worst class and the worst decile lie too low, and may exclude the metric itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance import keys

DRAWS = 2000
PERCENTILES = (2.5, 97.5)
Draws = NDArray[np.float64]


def worst_decile(recalls: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the ceil(P / 10) lowest of the P recalls in each row [..., P]."""
    count = math.ceil(recalls.shape[-1] / 10)
    return np.asarray(np.partition(recalls, count - 1, axis=-1)[..., :count].mean(axis=-1))


def intervals(confusion: NDArray[np.int64], *, seed: int = 0) -> dict[str, list[float]]:
    """The 95 % interval [low, high] of each metric of a confusion matrix [K, K], rows the true classes.

    accuracy, macro_precision, macro_recall, macro_f1, worst_recall and worst_decile_recall, over the classes that have
    images.
    """
    support = confusion.sum(axis=1)
    present = np.flatnonzero(support)
    right = np.zeros((DRAWS, len(present)))
    predicted = np.zeros((DRAWS, len(confusion)))
    generator = keys.generator(seed, "bootstrap")
    for place, k in enumerate(present):
        columns = np.flatnonzero(confusion[k])
        drawn = generator.multinomial(support[k], confusion[k, columns] / support[k], size=DRAWS)
        predicted[:, columns] += drawn
        if k in columns:
            right[:, place] = drawn[:, np.searchsorted(columns, k)]
    recall, predicted = right / support[present], predicted[:, present]
    precision = right / np.maximum(predicted, 1)
    f1 = 2 * right / (predicted + support[present])
    metrics: Mapping[str, Draws] = {
        "accuracy": right.sum(axis=1) / support.sum(),
        "macro_precision": precision.mean(axis=1),
        "macro_recall": recall.mean(axis=1),
        "macro_f1": f1.mean(axis=1),
        "worst_recall": recall.min(axis=1),
        "worst_decile_recall": worst_decile(recall),
    }
    return {name: _percentiles(values) for name, values in metrics.items()}


DIFFERENCES: dict[str, Callable[[Draws, NDArray[np.int64]], Draws]] = {
    "accuracy": lambda recalls, support: recalls @ support / support.sum(),
    "macro_recall": lambda recalls, support: recalls.mean(axis=-1),
    "worst_recall": lambda recalls, support: recalls.min(axis=-1),
    "worst_decile_recall": lambda recalls, support: worst_decile(recalls),
}


def paired_differences(
    labels: NDArray[np.int64], first: NDArray[np.bool_], second: NDArray[np.bool_], *, seed: int = 0
) -> dict[str, list[float]]:
    """The differences second - first of two models' metrics on the same images: [difference, low, high].

    `first` and `second` say of each image [n] whether the model has it right. A draw takes both answers to an image.
    """
    classes = np.unique(labels, return_inverse=True)[1]
    support = np.bincount(classes)
    cells = np.bincount(classes * 4 + first * 2 + second, minlength=4 * len(support)).reshape(-1, 4)
    generator = keys.generator(seed, "bootstrap")
    drawn = np.stack([generator.multinomial(n, row / n, size=DRAWS) for n, row in zip(support, cells, strict=True)], 1)
    found = {}
    for name, metric in DIFFERENCES.items():
        one, other = (metric(drawn[..., columns].sum(axis=-1) / support, support) for columns in ([2, 3], [1, 3]))
        own = [metric(cells[:, columns].sum(axis=-1) / support, support) for columns in ([2, 3], [1, 3])]
        found[name] = [float(own[1] - own[0]), *_percentiles(other - one)]
    return found


def _percentiles(values: Draws) -> list[float]:
    return [float(value) for value in np.percentile(values, PERCENTILES)]
