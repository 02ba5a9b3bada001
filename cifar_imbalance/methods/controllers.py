"""Controllers adjust the class values between epochs, on the host; looked up by `controller.name`.

A controller receives the validation metrics of each class after every epoch, may classify training images before the
next one, and provides its class values. Its state is part of the checkpoint, so that a resumed run continues with the
same values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from cifar_imbalance import keys
from cifar_imbalance.augment.strong import HIGHEST_LEVEL, at_levels
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


class CudaController(Controller):
    """The levels of CUDA (Ahn 2023, algorithm 1), which begin at 0.

    Before each epoch, at every level l up to a class's own, T (l + 1) of its images are drawn with replacement,
    augmented at that level, and classified. If more than a share of them is right at every level, the class's own rises
    by one; otherwise it falls by one.
    """

    def begin_epoch(self, training: Training) -> None:
        settings, cuda = self.settings.cuda, training.augmentation.cuda
        assert settings is not None and cuda is not None  # checked with the configuration
        levels = self._classes.level
        images, classes, strengths = [], [], []
        generator = keys.generator(training.seed, "cuda.counting", training.epoch)
        for label in np.flatnonzero(self._classes.counts):
            of_class = np.flatnonzero(training.labels == label)
            for level in range(levels[label] + 1):
                chosen = generator.choice(of_class, size=settings.draws * (level + 1))
                images.append(training.images[chosen])
                classes += [label] * len(chosen)
                strengths += [level] * len(chosen)
        labels, at_level = np.array(classes), np.array(strengths)
        augmented = at_levels(generator, np.concatenate(images), at_level, cuda)
        right = training.classify(augmented) == labels
        cells = labels * (HIGHEST_LEVEL + 1) + at_level
        size = len(levels) * (HIGHEST_LEVEL + 1)
        drawn, correct = np.bincount(cells, minlength=size), np.bincount(cells, right, minlength=size)
        passed = (correct > settings.threshold * drawn) | (drawn == 0)
        rises = passed.reshape(len(levels), -1).all(axis=1)
        changed = np.clip(levels + np.where(rises, 1, -1), 0, HIGHEST_LEVEL)
        self._classes = replace(self._classes, level=np.where(self._classes.counts > 0, changed, 0))

    def state_dict(self) -> dict[str, Any]:
        return {"levels": torch.from_numpy(self._classes.level.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        levels = state["levels"].numpy()
        if levels.shape != self._classes.level.shape or not ((levels >= 0) & (levels <= HIGHEST_LEVEL)).all():
            raise ValueError("its levels are not those of these classes")
        self._classes = replace(self._classes, level=levels.astype(np.int64))


CONTROLLERS: dict[str, type[Controller]] = {"constant": Controller, "cuda": CudaController}
