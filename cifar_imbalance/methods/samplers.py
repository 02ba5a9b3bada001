"""Samplers: the images of each batch of an epoch, as matrices of indices made on the host by key.

A sampler gives the probability of each class. An epoch has as many steps as the training images fill batches, whatever
the sampler.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64

from cifar_imbalance import keys
from cifar_imbalance.configuration.fields import Sampler

Labels = Int64[np.ndarray, " images"]
Order = Int64[np.ndarray, "steps batch"]
Counts = Int64[np.ndarray, " classes"]
Probabilities = Float64[np.ndarray, " classes"]


def instance(counts: Counts, progress: float) -> Probabilities:
    """In proportion to n, the images of the class: every image once in an epoch."""
    return counts / counts.sum()


def square_root(counts: Counts, progress: float) -> Probabilities:
    """In proportion to sqrt(n) (Kang 2020, q = 1/2)."""
    roots = np.sqrt(counts)
    return np.asarray(roots / roots.sum())


def class_balanced(counts: Counts, progress: float) -> Probabilities:
    """The same for each class that has images (Kang 2020, q = 0)."""
    return (counts > 0) / np.count_nonzero(counts)


def progressively_balanced(counts: Counts, progress: float) -> Probabilities:
    """From instance in the first epoch to class_balanced at the end of training (Kang 2020, eq. 2)."""
    return (1.0 - progress) * instance(counts, progress) + progress * class_balanced(counts, progress)


SAMPLERS: dict[str, Callable[[Counts, float], Probabilities]] = {
    "instance": instance,
    "square_root": square_root,
    "class_balanced": class_balanced,
    "progressively_balanced": progressively_balanced,
}


def sample(labels: Labels, sampler: Sampler, *, seed: int, epoch: int, epochs: int, batch_size: int) -> Order:
    """The images of each step of `epoch` (from 0) of `epochs`; the incomplete last batch is dropped.

    By instance every image is drawn once, otherwise with replacement.
    """
    generator = keys.generator(seed, "order", epoch)
    name = "instance" if epoch < deferred_epochs(sampler.defer, epochs) else sampler.name
    if name == "instance":
        return _batches(generator.permutation(len(labels)), batch_size)
    return _batches(draw(generator, labels, SAMPLERS[name](np.bincount(labels), epoch / epochs)), batch_size)


def draw(generator: np.random.Generator, labels: Labels, probabilities: Probabilities) -> Labels:
    """As many images as there are, with replacement: a class by its probability, then any image of it."""
    of_image = (probabilities / np.maximum(np.bincount(labels), 1))[labels]
    return generator.choice(len(labels), size=len(labels), p=of_image / of_image.sum())


def deferred_epochs(share: float, epochs: int) -> int:
    """The number of epochs before a choice that is deferred by this share of the run applies."""
    return round(share * epochs)


def steps_per_epoch(images: int, batch_size: int) -> int:
    return images // batch_size


def _batches(order: np.ndarray, batch_size: int) -> Order:
    steps = steps_per_epoch(len(order), batch_size)
    return order[: steps * batch_size].reshape(steps, batch_size).astype(np.int64)
