"""Test images chosen from all images, validation images held out from the training images, and folds: by own seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance import keys
from cifar_imbalance.errors import UsageError


def test_images(
    counts: Sequence[int], *, fraction: float, seed: int, class_names: Sequence[str]
) -> list[NDArray[np.bool_]]:
    """Which images of each class [n_k] are test images: round(fraction * n_k), at least 1. `counts`: n_k of each class.

    Raises UsageError for a class that would keep no training image.
    """
    generator = keys.generator(seed, "test images")
    chosen = []
    for count, name in zip(counts, class_names, strict=True):
        test = max(1, round(fraction * count))
        if test >= count:
            raise UsageError(
                f"dataset.test_fraction={fraction}: {test} of the images of class {name} would be test images, "
                f"but it has {count} and must keep one for training"
            )
        chosen.append(np.isin(np.arange(count), generator.permutation(count)[:test]))
    return chosen


def holdout(
    labels: NDArray[np.int64],
    *,
    class_count: int,
    fraction: float,
    balance: str,
    seed: int,
    class_names: Sequence[str] = (),
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the training and of the validation images, both sorted. `labels`: [n].

    balanced: round(fraction * n / class_count) of each class; proportional: round(fraction * n_k) of class k; in either
    case at least 1. Raises UsageError, with the name if `class_names` are given, for a class that would keep no
    training image.
    """
    generator = keys.generator(seed, "holdout")
    is_validation = np.zeros(len(labels), dtype=bool)
    for label in range(class_count):
        of_class = np.flatnonzero(labels == label)
        share = len(labels) / class_count if balance == "balanced" else len(of_class)
        count = max(1, round(fraction * share))
        if count >= len(of_class):
            name = class_names[label] if class_names else str(label)
            raise UsageError(
                f"dataset.holdout_fraction={fraction}, dataset.holdout_balance={balance}: {count} of the images of "
                f"class {name} would be held out, but it has {len(of_class)} and must keep one for training"
            )
        is_validation[generator.permutation(of_class)[:count]] = True
    return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)


def without_fold(
    labels: NDArray[np.int64], *, folds: int, fold: int, seed: int, class_names: Sequence[str]
) -> NDArray[np.int64]:
    """Positions of the images outside `fold`, one of `folds` stratified folds, sorted. `labels`: [n].

    Raises UsageError for more folds than images, and for a class that would keep no image.
    """
    if folds > len(labels):
        raise UsageError(f"dataset.folds={folds}: allowed is at most {len(labels)}, the number of training images")
    generator = keys.generator(seed, "folds")
    fold_of = np.zeros(len(labels), dtype=np.int64)
    for label, name in enumerate(class_names):
        of_class = np.flatnonzero(labels == label)
        # If a class does not divide evenly, the folds that get its surplus differ from class to class.
        fold_of[generator.permutation(of_class)] = (np.arange(len(of_class)) + label) % folds
        if (fold_of[of_class] == fold).all() and len(of_class):
            raise UsageError(f"dataset.folds={folds}: without fold {fold} class {name} has no image left")
    return np.flatnonzero(fold_of != fold)
