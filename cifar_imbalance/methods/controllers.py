"""Controllers adjust the class values between epochs, on the host; looked up by `controller.name`.

A controller receives the validation metrics of each class after every epoch and provides the class values of the next
one. Its state is part of the checkpoint, so that a resumed run continues with the same values.
"""

from __future__ import annotations

from typing import Any

from cifar_imbalance.configuration.fields import Controller as Settings
from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.methods.classes import Classes


class Controller:
    """The constant controller, and the base class of all others."""

    def __init__(self, classes: Classes, settings: Settings) -> None:
        """`classes` are those of the first epoch."""
        self._classes = classes
        self.settings = settings

    def classes(self) -> Classes:
        """The class values of the next epoch."""
        return self._classes

    def observe(self, metrics: ClassMetrics) -> None:
        """Receive the validation metrics of each class after an epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


CONTROLLERS: dict[str, type[Controller]] = {"constant": Controller}
