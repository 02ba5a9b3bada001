"""Per-class values used in training, which may change from epoch to epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Classes:
    """Arrays [K]. The step has all but `level` on its device; the draws of an epoch depend on `level`."""

    counts: NDArray[np.int64]  # training images of the class
    weight: NDArray[np.float64]  # weight of its images in the loss
    level: NDArray[np.int64]  # augmentation strength, for class-dependent operators
    teacher_share: NDArray[np.float64] | None = None  # of the loss of its images that comes from the teacher

    def on_host(self) -> dict[str, NDArray[np.float32]]:
        """The class tensors that a loss receives, before they are placed on the device."""
        values = {"counts": self.counts, "weight": self.weight, "teacher_share": self.teacher_share}
        return {name: value.astype(np.float32) for name, value in values.items() if value is not None}
