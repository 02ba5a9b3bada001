"""Averages of the logits of an image's views: the mean, or with weights for each class learnt on validation images."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from cifar_imbalance.evidence.fitting import Values, folds_of, minimized

PENALTY = 0.001  # on the mean square of the logarithms of the weights
OfViews = Float32[np.ndarray, "views images classes"]  # logits
Labels = Int64[np.ndarray, " images"]


def mean(logits: OfViews) -> Float32[np.ndarray, "images classes"]:
    return logits[0] if len(logits) == 1 else logits.mean(axis=0, dtype=np.float64).astype(np.float32)


def fit(logits: OfViews, labels: Labels) -> Values:
    """Weights [views, K] of the views in each class's logit, at least 0 and summing to 1, of lowest negative
    log-likelihood (ClassTTA, Shanmugam 2021) plus a penalty that draws them towards equal ones.
    """
    views, _, classes = logits.shape
    centred, targets = torch.from_numpy(_centred(logits)), torch.from_numpy(labels)

    def loss(numbers: Tensor) -> Tensor:
        weights = numbers.view(views, classes).softmax(dim=0)
        weighted = (weights[:, None] * centred).sum(dim=0)
        return torch.nn.functional.cross_entropy(weighted, targets) + PENALTY * (numbers**2).mean()

    numbers = torch.from_numpy(minimized(loss, views * classes))
    return np.asarray(numbers.view(views, classes).softmax(dim=0))


def weighted(logits: OfViews, weights: Values) -> Float32[np.ndarray, "images classes"]:
    """The views' logits, each view centred for each image, in sum with `weights` [views, K]."""
    return (weights[:, None] * _centred(logits)).sum(axis=0).astype(np.float32)


def cross_fitted(logits: OfViews, labels: Labels) -> Float32[np.ndarray, "images classes"]:
    """The validation images' logits, weighted by what was fitted on the other folds of them."""
    found = np.empty(logits.shape[1:], dtype=np.float32)
    for kept, out in folds_of(labels, "view_weights=by_class"):
        found[out] = weighted(logits[:, out], fit(logits[:, kept], labels[kept]))
    return found


def _centred(logits: OfViews) -> Values:
    """Without each row's mean, to which softmax is blind and a class's own weights are not."""
    exact = logits.astype(np.float64)
    return np.asarray(exact - exact.mean(axis=2, keepdims=True))
