"""The interface of an augmentation operator: draws on the host, a pure function on the device, a check of its settings.

Images are [batch, 3, height, width] with values 0..255, of any height and width. Nothing in `apply` branches on data,
reads the device or changes shape, so the operators are part of a compiled step on every runtime; images that are
channels_last in memory stay so (which `masked_fill` would not keep, hence `where`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

Images = Float[Tensor, "batch 3 height width"]
Draws = dict[str, np.ndarray]
Tensors = Mapping[str, Tensor]


class Drawn(NamedTuple):
    """What the draws of an epoch depend on: the images' labels, the level of each class, the size in pixels."""

    labels: Int64[np.ndarray, "steps batch"]
    levels: Int64[np.ndarray, " classes"]
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """[steps, batch]."""
        steps, batch = self.labels.shape
        return steps, batch


class Operator(NamedTuple):
    """`draw` makes an epoch's draws, `apply` augments a batch, `check` rejects settings unfit for the image size.

    An operator `on_host` is given arrays uint8 [batch, height, width, 3] and its draws as arrays, and may do anything.
    """

    draw: Callable[[np.random.Generator, Any, Drawn], Draws]
    apply: Callable[[Any, Any, Any], Any]
    check: Callable[[Any, int, int], None] | None = None
    on_host: bool = False


def happens(generator: np.random.Generator, probability: float, images: Drawn) -> np.ndarray:
    """Whether an event of this probability happens to each image, bool [steps, batch]."""
    return generator.random(images.shape) < probability
