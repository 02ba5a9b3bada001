"""The weight of each class in the loss, from its number of training images; looked up by `class_weights.name`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.configuration.fields import ClassWeights

Counts = NDArray[np.int64]
Weights = NDArray[np.float64]


def none(counts: Counts, settings: ClassWeights) -> Weights:
    """1 for each class."""
    return np.ones(len(counts))


def inverse(counts: Counts, settings: ClassWeights) -> Weights:
    """1 / n for a class of n images."""
    return 1.0 / np.maximum(counts, 1)


def square_root_inverse(counts: Counts, settings: ClassWeights) -> Weights:
    """1 / sqrt(n) for a class of n images (Mahajan 2018)."""
    return 1.0 / np.sqrt(np.maximum(counts, 1))


def effective_number(counts: Counts, settings: ClassWeights) -> Weights:
    """(1 - beta) / (1 - beta^n) for a class of n images (Cui 2019, eq. 4)."""
    assert settings.effective_number is not None  # set by the configuration's choice
    beta = settings.effective_number.beta
    return (1.0 - beta) / (1.0 - beta ** np.maximum(counts, 1))


CLASS_WEIGHTS: dict[str, Callable[[Counts, ClassWeights], Weights]] = {
    "none": none,
    "inverse": inverse,
    "square_root_inverse": square_root_inverse,
    "effective_number": effective_number,
}


def class_weights(counts: Counts, settings: ClassWeights) -> Weights:
    """Weights [K] of mean 1 over the classes that have images; a class without images has weight 0."""
    weights = CLASS_WEIGHTS[settings.name](counts, settings) * (counts > 0)
    return weights * (np.count_nonzero(counts) / weights.sum())
