"""The area under the ROC curve of each class against all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import rankdata

from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.probabilities import parts


def auroc(predictions: Predictions) -> NDArray[np.float64]:
    """[K], of the probability of the class; NaN for a class that none or all of the images belong to.

    It is Mann and Whitney's U over the number of pairs (Hanley 1982): exact, where torchmetrics adds in float32.
    """
    logits, labels = predictions.logits, predictions.labels
    largest = logits.max(axis=1).astype(np.float64)
    beyond = np.concatenate(
        [logsumexp(logits[a:b] - largest[a:b, None], axis=1) for a, b in parts(*logits.shape)]
    )  # small, so that probabilities near 1 keep their order
    areas = np.full(logits.shape[1], np.nan)
    for index in range(logits.shape[1]):
        own = labels == index
        positive, negative = int(own.sum()), int((~own).sum())
        if positive and negative:
            ranks = rankdata(logits[:, index] - largest - beyond)
            areas[index] = (ranks[own].sum() - positive * (positive + 1) / 2) / (positive * negative)
    return areas
