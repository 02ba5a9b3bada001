"""Which images make up each batch of an epoch: matrices of indices, written on the host by key."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from cifar_imbalance import keys
from cifar_imbalance.errors import UsageError


def instance_order(seed: int, epoch: int, *, image_count: int, batch_size: int) -> Int64[np.ndarray, "steps batch"]:
    """Every image once, in an order of this epoch's own; the incomplete last batch is dropped.

    Raises UsageError where there are fewer images than one batch needs.
    """
    if image_count < batch_size:
        raise UsageError(
            f"training.batch_size={batch_size}: there are only {image_count} training images, "
            f"allowed is 2 to {image_count}"
        )
    steps = image_count // batch_size
    order = keys.generator(seed, "order", epoch).permutation(image_count)
    return order[: steps * batch_size].reshape(steps, batch_size).astype(np.int64)
