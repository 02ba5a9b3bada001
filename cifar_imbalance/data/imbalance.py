"""Long-tailed subsets exactly as LDAM-DRW samples them (Cao 2019, imbalance_cifar.py)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.errors import UsageError


def class_counts(profile: str, *, factor: float, n_max: int, class_names: Sequence[str]) -> NDArray[np.int64]:
    """Images of each class, [K], the largest first. Counts are rounded down.

    exponential: n_k = int(n_max * mu^(k / (K - 1))) with mu = 1 / factor; step: n_max for the first K // 2 classes,
    int(n_max * mu) for the others; none: n_max. Raises UsageError for a class left without images.
    """
    mu, class_count = 1.0 / factor, len(class_names)
    if profile == "exponential":
        counts = [int(n_max * mu ** (k / (class_count - 1.0))) for k in range(class_count)]
    elif profile == "step":
        counts = [n_max if k < class_count // 2 else int(n_max * mu) for k in range(class_count)]
    else:
        counts = [n_max] * class_count
    if 0 in counts:
        raise UsageError(
            f"dataset.imbalance.factor={factor:g}: class {class_names[counts.index(0)]} would keep none of its "
            f"images; with {n_max} images in the largest class the factor may be at most {n_max}"
        )
    return np.asarray(counts, dtype=np.int64)


def subset(
    labels: NDArray[np.int64], *, class_names: Sequence[str], profile: str, factor: float, subset_seed: int
) -> NDArray[np.int64]:
    """Positions of the images that are kept, sorted. `labels`: [n].

    n_max is the size of the largest class. If classes are imbalanced from the start, a class with fewer images than its
    target count keeps them all.
    """
    if profile == "none":
        return np.arange(len(labels), dtype=np.int64)
    n_max = int(np.bincount(labels, minlength=len(class_names)).max())
    counts = class_counts(profile, factor=factor, n_max=n_max, class_names=class_names)
    # numpy's legacy generator, and a shuffle of each whole class in order: this is how the published subsets were
    # drawn
    legacy = np.random.RandomState(subset_seed)
    kept = []
    for label, count in enumerate(counts):
        of_class = np.flatnonzero(labels == label)
        legacy.shuffle(of_class)
        kept.append(of_class[:count])
    return np.sort(np.concatenate(kept)).astype(np.int64)
