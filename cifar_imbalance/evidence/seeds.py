"""Runs of many seeds against runs of many seeds: differences whose spread is that over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from scipy.stats import t as students_t

from cifar_imbalance.evidence.significance import FALSE_DISCOVERY_RATE

FEWEST_PAIRS = 2  # seeds in common; with fewer the runs are not paired
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairing:
    """Which runs are compared: their places, in the same order where they are pairs of one seed."""

    first: list[int]
    second: list[int]
    seeds: list[int]  # in common; empty if the runs are not paired

    @property
    def is_paired(self) -> bool:
        return bool(self.seeds)


@dataclass(frozen=True, eq=False)
class SeedDifferences:
    """second - first of M results over the seeds, arrays [M]; NaN where a result is not known."""

    first_mean: Values
    first_sd: Values  # sample standard deviations
    second_mean: Values
    second_sd: Values
    difference: Values
    low: Values  # ends of the 95 % interval
    high: Values
    p: Values  # of no difference
    adjusted_p: Values  # for the number of results (Benjamini and Hochberg 1995)

    @property
    def beyond_noise(self) -> NDArray[np.bool_]:
        return self.adjusted_p <= FALSE_DISCOVERY_RATE


def pairing(first_seeds: Sequence[int], second_seeds: Sequence[int]) -> Pairing:
    """Pairs of runs of the same seed if there are at least FEWEST_PAIRS; else all runs, not paired."""
    common = sorted(set(first_seeds) & set(second_seeds))
    if len(common) < FEWEST_PAIRS:
        return Pairing(list(range(len(first_seeds))), list(range(len(second_seeds))), [])
    return Pairing([first_seeds.index(s) for s in common], [second_seeds.index(s) for s in common], common)


def seed_differences(first: Values, second: Values, *, paired: bool, steps: Values | float = 0.0) -> SeedDifferences:
    """The differences of M results of two sets of runs [n, M], at least two each; rows of pairs have the same place.

    Student's t of the pairs' differences, or Welch's (1947) of sets that are not `paired`. `steps` [M] are the
    distances of the values that a result can take, such as 1 / images for a recall: a variance counts as at least that
    of rounding to them, step^2 / 12, because the recalls of a few runs are equal by chance now and then.
    """
    rounding = np.broadcast_to(np.square(np.asarray(steps, dtype=np.float64)) / 12, first.shape[1:])
    if paired:
        count = len(first)
        variance = np.maximum((second - first).var(axis=0, ddof=1), 2 * rounding) / count
        freedom = np.full(variance.shape, count - 1.0)
    else:
        parts = [np.maximum(one.var(axis=0, ddof=1), rounding) / len(one) for one in (first, second)]
        variance = parts[0] + parts[1]
        known = np.where(variance > 0, variance, 1.0)
        shares = [(part / known) ** 2 / (len(one) - 1) for part, one in zip(parts, (first, second), strict=True)]
        freedom = np.where(variance > 0, 1 / np.maximum(shares[0] + shares[1], np.finfo(np.float64).tiny), 1.0)
    difference = second.mean(axis=0) - first.mean(axis=0)
    error = np.sqrt(variance)
    half = students_t.ppf(0.975, freedom) * error
    # Without any spread, whatever is not 0 is beyond noise.
    ratio = np.divide(difference, error, out=np.where(difference == 0, 0.0, np.inf), where=error > 0)
    p = np.where(np.isnan(difference), np.nan, 2 * students_t.sf(np.abs(ratio), freedom))
    adjusted, present = np.full(p.shape, np.nan), ~np.isnan(p)
    if present.any():
        adjusted[present] = false_discovery_control(p[present])
    return SeedDifferences(
        first_mean=first.mean(axis=0),
        first_sd=first.std(axis=0, ddof=1),
        second_mean=second.mean(axis=0),
        second_sd=second.std(axis=0, ddof=1),
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=p,
        adjusted_p=adjusted,
    )


def fewest_deviations(pairs: int, results: int) -> float:
    """By how many standard deviations of its pairs' differences a result that alone differs must do so to count."""
    return float(students_t.isf(FALSE_DISCOVERY_RATE / results / 2, pairs - 1) / pairs**0.5)
