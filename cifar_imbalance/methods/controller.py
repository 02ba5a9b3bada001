"""A controller adjusts the class values between epochs, on the host.

It receives the validation metrics of each class after every epoch, may classify training images before the next
one, and provides its class values. Its state is part of the checkpoint, so that a resumed run continues with the
same values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray

from cifar_imbalance.configuration.fields import Augmentation
from cifar_imbalance.configuration.fields import Controller as Settings
from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.methods.classes import Classes


class Training(NamedTuple):
    """What a controller may use before an epoch (from 0)."""

    seed: int
    epoch: int
    images: UInt8[np.ndarray, "all height width 3"]
    labels: Int64[np.ndarray, " all"]
    augmentation: Augmentation
    classify: Callable[[np.ndarray], np.ndarray]  # images, uint8 [n, height, width, 3], to predicted classes [n]


class Controller:
    """The constant controller, and the base class of all others."""

    changes: str | None = None  # the class value that it sets, "weight" or "level": recorded after every epoch

    def __init__(self, classes: Classes, settings: Settings) -> None:
        """`classes` are those of the first epoch."""
        self._classes = classes
        self.settings = settings

    def classes(self) -> Classes:
        """The class values of the next epoch."""
        return self._classes

    def begin_epoch(self, training: Training) -> None:
        """Called before the class values of an epoch are asked for."""

    def observe(self, metrics: ClassMetrics) -> None:
        """Receive the validation metrics of each class after an epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


def averaged(before: NDArray[np.float64], value: NDArray[np.float64], momentum: float) -> NDArray[np.float64]:
    """The exponential average [K] after `value` [K]; NaN is what is not known: the first value counts in full."""
    known = np.where(np.isnan(before), value, before)
    return np.where(np.isnan(value), known, momentum * known + (1.0 - momentum) * value)


def check_shape(values: NDArray[Any], classes: Classes, name: str) -> None:
    """Raises ValueError for values of a checkpoint that are not of these classes."""
    if values.shape != classes.counts.shape:
        raise ValueError(f"its {name} are not those of these classes")


class Averaging(Controller):
    """Keeps an exponential average [K] of what it observes, NaN where nothing was; it is part of the state."""

    def __init__(self, classes: Classes, settings: Settings) -> None:
        super().__init__(classes, settings)
        self._average = np.full(len(classes.counts), np.nan)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "average": torch.from_numpy(self._average.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        average = state["average"].numpy().astype(np.float64)
        check_shape(average, self._classes, "averages")
        self._average = average
