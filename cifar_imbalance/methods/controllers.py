"""What changes the classes between epochs, on the host; looked up by `controller.name`.

A controller hears the class metrics of the validation images after every epoch and says what the next one knows of the
classes. Its state is part of the checkpoint, so that a resumed run continues with the same values.
"""

from __future__ import annotations

from typing import Any

from cifar_imbalance.configuration.fields import Controller as Settings
from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.methods.classes import Classes


class Controller:
    """The one that changes nothing, and what all others are made of."""

    def __init__(self, classes: Classes, settings: Settings) -> None:
        """`classes` are those of the first epoch."""
        self._classes = classes
        self.settings = settings

    def classes(self) -> Classes:
        """What the next epoch knows of the classes."""
        return self._classes

    def observe(self, metrics: ClassMetrics) -> None:
        """Hear how well the validation images of each class were recognised after an epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""


CONTROLLERS: dict[str, type[Controller]] = {"constant": Controller}
