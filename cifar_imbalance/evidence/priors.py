"""Test images of another class distribution, from saved logits: long tails forward and backward."""

from __future__ import annotations

import numpy as np

from cifar_imbalance import keys
from cifar_imbalance.configuration.fields import ShiftedPrior
from cifar_imbalance.evidence.predictions import Predictions


def shifted(predictions: Predictions, prior: ShiftedPrior) -> Predictions:
    """Of each class int(n factor^(-k / (K-1))) of its n images, drawn by key, at least one (Hong 2021, section 5.1).

    k is the class's number, forward; backward, K - 1 less it.
    """
    if prior.profile == "none":
        return predictions
    classes = len(predictions.class_names)
    generator = keys.generator(prior.seed, "test prior")
    places = []
    for label in range(classes):
        of_class = generator.permutation(np.flatnonzero(predictions.labels == label))
        rank = label if prior.profile == "forward" else classes - 1 - label
        count = max(1, int(len(of_class) * prior.factor ** (-rank / (classes - 1))))
        places.append(of_class[:count])
    return predictions.take(np.sort(np.concatenate(places)))
