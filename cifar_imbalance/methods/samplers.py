"""Samplers: the images of each batch of an epoch, as matrices of indices made on the host by key.

An epoch has as many steps as the training images fill batches, whatever the sampler.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int64

from cifar_imbalance import keys
from cifar_imbalance.configuration.fields import Sampler

Labels = Int64[np.ndarray, " images"]
Order = Int64[np.ndarray, "steps batch"]


def instance(labels: Labels, seed: int, epoch: int, batch_size: int, settings: Sampler) -> Order:
    """Every image once, in an order specific to the epoch; the incomplete last batch is dropped."""
    return _batches(keys.generator(seed, "order", epoch).permutation(len(labels)), batch_size)


def class_balanced(labels: Labels, seed: int, epoch: int, batch_size: int, settings: Sampler) -> Order:
    """Images drawn with replacement, each class that has images with the same probability (Kang 2020, q = 0)."""
    counts = np.bincount(labels)
    probability = 1.0 / (np.count_nonzero(counts) * counts[labels])
    drawn = keys.generator(seed, "order", epoch).choice(len(labels), size=len(labels), p=probability)
    return _batches(drawn, batch_size)


SAMPLERS: dict[str, Callable[[Labels, int, int, int, Sampler], Order]] = {
    "instance": instance,
    "class_balanced": class_balanced,
}


def steps_per_epoch(images: int, batch_size: int) -> int:
    return images // batch_size


def _batches(order: np.ndarray, batch_size: int) -> Order:
    steps = steps_per_epoch(len(order), batch_size)
    return order[: steps * batch_size].reshape(steps, batch_size).astype(np.int64)
