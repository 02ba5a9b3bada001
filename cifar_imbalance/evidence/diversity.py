"""The gain of an ensemble over its members: by class, and by number of members."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from cifar_imbalance import keys
from cifar_imbalance.evidence.combination import combine, log_probabilities, paired
from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions

SUBSETS_OF_A_SIZE = 30
METRICS_BY_SIZE = ("accuracy", "macro_f1", "worst_recall", "worst_decile_recall", "recall_sd")


@dataclass(frozen=True, eq=False)
class ClassGains:
    """Results of each class, arrays [K]; NaN for a class without images."""

    mean_member_recall: NDArray[np.float64]  # mean of the members' recalls
    ensemble_recall: NDArray[np.float64]
    disagreement: NDArray[np.float64]  # share of pairs of members whose predicted classes differ (Skalak 1996)
    mutual_information: NDArray[np.float64]  # nats: entropy of the mean softmax minus mean entropy of the members

    @property
    def gain(self) -> NDArray[np.float64]:
        return self.ensemble_recall - self.mean_member_recall


def class_gains(members: Sequence[Predictions], ensemble: Predictions) -> ClassGains:
    """`members` [M >= 2] and their `ensemble`, all on the same images."""
    ensemble, *members = paired([ensemble, *members])
    recalls = np.stack([class_metrics(member).recall for member in members])
    log_p = log_probabilities(members)
    mean = logsumexp(log_p, axis=0, b=1 / len(members))
    entropy_of_mean = -(np.exp(mean) * mean).sum(axis=1)
    mean_entropy = -(np.exp(log_p) * log_p).sum(axis=2).mean(axis=0)
    predicted = np.stack([member.predicted for member in members])
    differing = np.mean([predicted[i] != predicted[j] for i, j in combinations(range(len(members)), 2)], axis=0)
    labels, classes = ensemble.labels, len(ensemble.class_names)
    return ClassGains(
        mean_member_recall=recalls.mean(axis=0),
        ensemble_recall=class_metrics(ensemble).recall,
        disagreement=_mean_by_class(differing, labels, classes),
        mutual_information=_mean_by_class(entropy_of_mean - mean_entropy, labels, classes),
    )


def metrics_by_size(
    members: Sequence[Predictions],
    how: str,
    *,
    validation: Sequence[Predictions] | None = None,
    seed: int = 0,
) -> list[dict[str, float | int]]:
    """A row for each subset of the members: its size `members`, and METRICS_BY_SIZE of its combination.

    All subsets of each size, or SUBSETS_OF_A_SIZE of them, drawn by `seed`, if there are more.
    """
    rows = []
    for size in range(1, len(members) + 1):
        for subset in _subsets(len(members), size, seed):
            subset_validation = None if validation is None else [validation[k] for k in subset]
            summary = summarize(combine([members[k] for k in subset], how, validation=subset_validation))
            rows.append({"members": size, **{name: summary[name] for name in METRICS_BY_SIZE}})
    return rows


def _subsets(count: int, size: int, seed: int) -> Iterable[tuple[int, ...]]:
    if comb(count, size) <= SUBSETS_OF_A_SIZE:
        return combinations(range(count), size)
    generator = keys.generator(seed, "subsets", size)
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < SUBSETS_OF_A_SIZE:
        drawn.add(tuple(sorted(generator.choice(count, size, replace=False).tolist())))
    return sorted(drawn)


def _mean_by_class(values: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Mean of `values` [n] over the images of each class: [K], NaN where there are none."""
    support = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=values, minlength=classes)
    return np.divide(sums, support, out=np.full(classes, np.nan), where=support > 0)
