"""Fitting numbers to the logits of validation images, and judging them on images that they were not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from cifar_imbalance import keys
from cifar_imbalance.errors import UsageError

FOLDS = 5
Values = NDArray[np.float64]


def minimized(loss: Callable[[Tensor], Tensor], count: int) -> Values:
    """The `count` numbers at which `loss` is smallest, from zeros, by L-BFGS."""

    def value_and_gradient(numbers: Values) -> tuple[float, Values]:
        at = torch.from_numpy(numbers.copy()).requires_grad_()
        value = loss(at)
        (gradient,) = torch.autograd.grad(value, at)
        return float(value.detach()), gradient.numpy()

    found = minimize(value_and_gradient, np.zeros(count), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x)


def folds_of(labels: NDArray[np.int64], owner: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The images outside each of FOLDS stratified folds, drawn by key, and those in it, as positions in `labels`.

    Raises UsageError, which names `owner`, if a fold has all images.
    """
    generator = keys.generator(0, "cross-fitting")
    folds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = generator.permutation(np.flatnonzero(labels == label))
        folds[of_class] = (np.arange(len(of_class)) + label) % FOLDS
    for fold in np.unique(folds):
        kept, out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if len(kept) == 0:
            raise UsageError(f"{owner}: too few validation images ({len(labels)})")
        yield kept, out
