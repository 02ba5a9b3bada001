"""Controllers that set the level of each class in augmentation.cuda."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from cifar_imbalance import keys
from cifar_imbalance.augment.strong import HIGHEST_LEVEL, at_levels
from cifar_imbalance.configuration.fields import Controller as Settings
from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.methods.controller import Averaging, Controller, Training, averaged, check_shape


class LevelController(Controller):
    """Keeps the levels; a class without training images has level 0."""

    changes = "level"

    def _set(self, levels: NDArray[Any]) -> None:
        levels = np.where(self._classes.counts > 0, levels, 0).astype(np.int64)
        self._classes = replace(self._classes, level=levels.clip(0, HIGHEST_LEVEL))

    def state_dict(self) -> dict[str, Any]:
        return {"levels": torch.from_numpy(self._classes.level.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        levels = state["levels"].numpy()
        check_shape(levels, self._classes, "levels")
        if not ((levels >= 0) & (levels <= HIGHEST_LEVEL)).all():
            raise ValueError("its levels are not those of these classes")
        self._classes = replace(self._classes, level=levels.astype(np.int64))


class CudaController(LevelController):
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
        self._set(levels + np.where(rises, 1, -1))


class ConstantLevel(LevelController):
    """All classes have the same level: what those that differ by class are compared with."""

    def __init__(self, classes: Classes, settings: Settings) -> None:
        super().__init__(classes, settings)
        assert settings.constant_level is not None  # set by the configuration's choice
        self._set(np.full(len(classes.counts), settings.constant_level.level))


class LevelByRecall(Averaging, LevelController):
    """Levels from 0 to `highest` by the rank of each class's averaged recall, at first 0.

    `strong_for=easy` gives the class of highest recall the highest level, `strong_for=hard` the one of lowest
    recall. By rank, both have the same levels, dealt out in opposite order; equal recalls have equal levels.
    Classes without images have level 0.
    """

    def observe(self, metrics: ClassMetrics) -> None:
        settings = self.settings.level_by_recall
        assert settings is not None  # set by the configuration's choice
        self._average = averaged(self._average, metrics.recall, settings.momentum)
        known = np.flatnonzero(~np.isnan(self._average) & (self._classes.counts > 0))
        sign = 1.0 if settings.strong_for == "easy" else -1.0
        ranks = rankdata(sign * self._average[known]) - 1.0
        levels = np.zeros(len(self._average))
        levels[known] = np.rint(settings.highest * ranks / max(len(known) - 1, 1))
        self._set(levels)


class BackOff(Averaging, LevelController):
    """Backs off where augmentation makes false positives (after Kirichenko 2023, who took it away by hand).

    All classes begin at level `start`. After an epoch, a class whose averaged share of all false positives grew by more
    than `tolerance` of itself falls by one level; the others rise by one.
    """

    def __init__(self, classes: Classes, settings: Settings) -> None:
        super().__init__(classes, settings)
        assert settings.back_off is not None  # set by the configuration's choice
        self._set(np.full(len(classes.counts), settings.back_off.start))

    def observe(self, metrics: ClassMetrics) -> None:
        settings = self.settings.back_off
        assert settings is not None
        wrong = metrics.false_positive_rate
        total = np.nansum(wrong)
        before = self._average
        share = wrong / total if total > 0 else np.zeros_like(wrong)
        self._average = averaged(before, share, settings.momentum)
        if np.isnan(before).all():
            return
        grew = self._average > (1.0 + settings.tolerance) * before
        self._set(self._classes.level + np.where(grew, -1, 1))
