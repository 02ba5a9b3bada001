"""What training knows of each class, as values that may change from epoch to epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Classes:
    """Arrays [K]. The step has `counts` and `weight` on its device; the draws of an epoch are made by `level`."""

    counts: NDArray[np.int64]  # training images of the class
    weight: NDArray[np.float64]  # of its images in the loss
    level: NDArray[np.int64]  # strength of its augmentation, for operators that go by classes

    def on_host(self) -> dict[str, NDArray[np.float32]]:
        """What a loss is given, before it is placed on the device."""
        return {"counts": self.counts.astype(np.float32), "weight": self.weight.astype(np.float32)}
