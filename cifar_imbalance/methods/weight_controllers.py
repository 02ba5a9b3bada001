"""Controllers that weight each class in the loss by its difficulty on the validation images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.configuration.fields import DifficultyWeights
from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.methods.controller import Averaging, averaged

SMALLEST = 0.01  # difficulty: a class without mistakes keeps a weight


class WeightController(Averaging):
    """The class weights by count times a factor [K] of mean 1, which is 1 until something was observed.

    A class without validation images, whose difficulty is not known, has the mean one.
    """

    changes = "weight"

    def classes(self) -> Classes:
        if np.isnan(self._average).all():
            return self._classes
        known = np.nan_to_num(self._average, nan=np.nanmean(self._average))
        return replace(self._classes, weight=self._classes.weight * self.factors(known))

    def factors(self, average: NDArray[np.float64]) -> NDArray[np.float64]:
        """The factors [K] that follow from the `average` [K] of what is observed."""
        raise NotImplementedError


class Cdb(WeightController):
    """CDB (Sinha 2020): the difficulty d_k = 1 - recall_k after the last epoch, to a power.

    Without a given power it is the paper's dynamic one, 2 / (1 + exp(-b)), b = max recall / (min recall + 0.01) - 1.
    (The authors' code has 1 / (1 + exp(-max / (min + 0.01))) instead.) Difficulties are at least `SMALLEST`.
    """

    def observe(self, metrics: ClassMetrics) -> None:
        self._average = averaged(self._average, metrics.recall, 0.0)

    def factors(self, average: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.settings.cdb is not None  # set by the configuration's choice
        power = self.settings.cdb.power
        if power is None:
            bias = average.max() / (average.min() + 0.01) - 1.0
            power = float(2.0 / (1.0 + np.exp(-bias)))
        return of_mean_one(np.maximum(1.0 - average, SMALLEST) ** power)


class RecallWeights(WeightController):
    """(1 - r_k + 0.01)^power with r_k the exponential average of recall, of mean 1, then clipped."""

    def observe(self, metrics: ClassMetrics) -> None:
        assert self.settings.recall_weights is not None  # set by the configuration's choice
        self._average = averaged(self._average, metrics.recall, self.settings.recall_weights.momentum)

    def factors(self, average: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.settings.recall_weights is not None
        return _clipped(1.0 - average, self.settings.recall_weights)


class FalsePositiveWeights(WeightController):
    """(f_k + 0.01)^power with f_k the class's false-positive rate over the mean one, averaged likewise.

    Images of other classes are taken for a hard class: its false positives show that it is hard (Cui 2024).
    """

    def observe(self, metrics: ClassMetrics) -> None:
        assert self.settings.false_positive_weights is not None  # set by the configuration's choice
        rate = metrics.false_positive_rate
        mean = np.nanmean(rate)
        relative = rate / mean if mean > 0 else np.ones_like(rate)
        self._average = averaged(self._average, relative, self.settings.false_positive_weights.momentum)

    def factors(self, average: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.settings.false_positive_weights is not None
        return _clipped(average, self.settings.false_positive_weights)


def of_mean_one(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / values.mean()


def _clipped(difficulty: NDArray[np.float64], settings: DifficultyWeights) -> NDArray[np.float64]:
    weights = of_mean_one((difficulty + SMALLEST) ** settings.power)
    return weights.clip(settings.lowest, settings.highest)
