"""Which images are classified wrongly, pair by pair of true and predicted class, and how surely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from cifar_imbalance.evidence.predictions import Predictions


@dataclass(frozen=True, eq=False)
class Confused:
    """The mistakes of a pair of classes, the surest first."""

    true: int
    predicted: int
    places: NDArray[np.int64]  # of the images in the predictions
    probabilities: NDArray[np.float64]  # of the predicted class


def confused_pairs(predictions: Predictions, among: NDArray[np.bool_] | None = None) -> list[Confused]:
    """The pairs of classes that were confused: most images first, then by the surest mistake.

    `among` [n] says which images count; by default all do.
    """
    answers, labels = predictions.predicted, predictions.labels
    is_wrong = answers != labels
    wrong = np.flatnonzero(is_wrong if among is None else is_wrong & among)
    if not len(wrong):
        return []
    # near 1 the probabilities themselves are equal
    doubts = -log_softmax(predictions.logits[wrong].astype(np.float64), axis=1)[np.arange(len(wrong)), answers[wrong]]
    order = np.lexsort((doubts, answers[wrong], labels[wrong]))
    wrong, doubts = wrong[order], doubts[order]
    pairs = labels[wrong] * predictions.logits.shape[1] + answers[wrong]
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    found = [
        Confused(int(labels[places[0]]), int(answers[places[0]]), places, np.exp(-of_pair))
        for places, of_pair in zip(np.split(wrong, starts[1:]), np.split(doubts, starts[1:]), strict=True)
    ]
    surest = dict(zip(((one.true, one.predicted) for one in found), doubts[starts], strict=True))
    return sorted(found, key=lambda one: (-len(one.places), surest[one.true, one.predicted], one.true, one.predicted))
