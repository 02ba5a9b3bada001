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
    norms = np.concatenate(
        [logsumexp(logits[start:stop].astype(np.float64), axis=1) for start, stop in parts(*logits.shape)]
    )
    areas = np.full(logits.shape[1], np.nan)
    for index in range(logits.shape[1]):
        own = labels == index
        positive, negative = int(own.sum()), int((~own).sum())
        if positive and negative:
            ranks = rankdata(logits[:, index] - norms)
            areas[index] = (ranks[own].sum() - positive * (positive + 1) / 2) / (positive * negative)
    return areas
