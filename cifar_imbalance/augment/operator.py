"""What an augmentation operator is: draws on the host, a pure function on the device, a check of its settings.

Images are [batch, 3, height, width] with values 0..255, of any height and width. Nothing in `apply` branches on data,
reads the device or changes shape, so the operators are part of a compiled step on every runtime; images that are
channels_last in memory stay so (which `masked_fill` would not keep, hence `where`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "batch 3 height width"]
Draws = dict[str, np.ndarray]
Tensors = Mapping[str, Tensor]


class Size(NamedTuple):
    """How many images are drawn for, [steps, batch], and their height and width in pixels."""

    steps: int
    batch: int
    height: int
    width: int


class Operator(NamedTuple):
    """`draw` fills an epoch, `apply` changes a batch, `check` refuses settings that images of this size cannot take."""

    draw: Callable[[np.random.Generator, Any, Size], Draws]
    apply: Callable[[Images, Tensors, Any], Images]
    check: Callable[[Any, int, int], None] | None = None


def happens(generator: np.random.Generator, probability: float, size: Size) -> np.ndarray:
    """Whether something of this probability happens to each image, bool [steps, batch]."""
    return generator.random((size.steps, size.batch)) < probability
