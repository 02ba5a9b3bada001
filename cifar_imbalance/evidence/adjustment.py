"""Adjustments of saved logits: a few numbers, given or fitted on validation images, that change logits and no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import Tensor

from cifar_imbalance.configuration.consistency import needs_validation
from cifar_imbalance.configuration.fields import Adjust
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.fitting import Values, folds_of, minimized
from cifar_imbalance.evidence.predictions import Predictions


@dataclass(frozen=True, eq=False)
class Head:
    """What is known of the linear head that gave the logits, for each class [K]."""

    norms: Values  # of its class vectors
    bias: Values


@dataclass(frozen=True, eq=False)
class Given:
    """What the numbers of an adjustment can come from; those that it needs are there (checked by `fit`, or before)."""

    validation: Predictions | None = None
    train_images: NDArray[np.int64] | None = None  # [K]
    head: Head | None = None

    def logits_and_labels(self) -> tuple[Values, NDArray[np.int64]]:
        """Of the validation images, in float64."""
        assert self.validation is not None
        return self.validation.logits.astype(np.float64), self.validation.labels


@dataclass(frozen=True, eq=False)
class Adjustment:
    """New logits are `scale` z + `bias`, with numbers for all classes or one for each [K]."""

    scale: Values
    bias: Values
    fitted: dict[str, float]  # what the numbers come from, if it is a single one: tau, temperature

    def __call__(self, predictions: Predictions) -> Predictions:
        logits = predictions.logits * self.scale + self.bias
        return replace(predictions, logits=logits.astype(np.float32))


def logit_adjustment(settings: Adjust, given: Given) -> Adjustment:
    """z - tau log pi, pi the shares of the classes among the training images (Menon 2021, eq. 9).

    Fitted: the tau of 0 to 3 of highest macro recall, the smallest of equal ones.
    """
    assert settings.logit_adjustment is not None  # set by the configuration's choice
    train_images = given.train_images
    if train_images is None or not train_images.all():
        raise UsageError("adjust=logit_adjustment: needs the training images of each class, of which all have some")
    log_prior = np.log(train_images / train_images.sum())
    tau = settings.logit_adjustment.tau
    if tau is None:
        tau = _of_highest_macro_recall(np.linspace(0, 3, 61), lambda one: (1.0, -one * log_prior), given)
    return Adjustment(np.ones(1), -tau * log_prior, {"tau": tau})


def tau_normalization(settings: Adjust, given: Given) -> Adjustment:
    """The logits of a head with class vectors w_k / |w_k|^tau and no bias (Kang 2020, eq. 4): (z_k - b_k) / |w_k|^tau.

    Fitted: the tau of 0 to 1 of highest macro recall, the smallest of equal ones.
    """
    assert settings.tau_normalization is not None and given.head is not None
    head, tau = given.head, settings.tau_normalization.tau

    def of(one: float) -> tuple[Values, Values]:
        scale = np.maximum(head.norms, np.finfo(np.float32).tiny) ** -one
        return scale, -head.bias * scale

    if tau is None:
        tau = _of_highest_macro_recall(np.linspace(0, 1, 21), of, given)
    return Adjustment(*of(tau), {"tau": tau})


def temperature(settings: Adjust, given: Given) -> Adjustment:
    """z / T, with the T of lowest negative log-likelihood (Guo 2017)."""
    z, labels = given.logits_and_labels()
    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        return -float(log_softmax(z / np.exp(log_t), axis=1)[rows, labels].mean())

    found = float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))
    return Adjustment(np.full(1, 1 / found), np.zeros(1), {"temperature": found})


def vector_scaling(settings: Adjust, given: Given) -> Adjustment:
    """a_k z_k + b_k, with the numbers of lowest negative log-likelihood plus a penalty on b and on a - 1 (Guo 2017)."""
    assert settings.vector_scaling is not None
    z, labels = map(torch.from_numpy, given.logits_and_labels())
    classes, penalty = z.shape[1], settings.vector_scaling.penalty

    def loss(numbers: Tensor) -> Tensor:
        scale, bias = 1 + numbers[:classes], numbers[classes:]
        fit = torch.nn.functional.cross_entropy(scale * z + bias, labels)
        return fit + penalty * (numbers**2).mean()

    numbers = minimized(loss, 2 * classes)
    return Adjustment(1 + numbers[:classes], numbers[classes:] - numbers[classes:].mean(), {})


def class_bias(settings: Adjust, given: Given) -> Adjustment:
    """z_k + b_k, with b for which the classes' mean probabilities q_k of their own images are high, the low ones most:

    minimises (1 / t) log mean_k q_k^-t, for t = 0 its limit -mean_k log q_k, plus a penalty on b. The larger the power
    t, the more the worst classes count.
    """
    assert settings.class_bias is not None
    z, labels = map(torch.from_numpy, given.logits_and_labels())
    power, penalty = settings.class_bias.power, settings.class_bias.penalty
    classes, own = labels.unique(return_inverse=True)  # those that have images
    zeros = torch.zeros(len(classes), dtype=z.dtype)
    log_support = zeros.index_add(0, own, torch.ones_like(z[:, 0])).log()
    z = z - z.amax(dim=1, keepdim=True)
    of_own, exp_z = z.gather(1, labels[:, None])[:, 0], z.exp()

    def loss(bias: Tensor) -> Tensor:
        of_label = of_own + bias[labels] - (exp_z @ bias.exp()).log()  # log softmax(z + bias), as a matrix product
        largest = zeros.scatter_reduce(0, own, of_label.detach(), "amax", include_self=False)
        log_q = zeros.index_add(0, own, (of_label - largest[own]).exp()).log() + largest - log_support
        power_mean = (torch.logsumexp(-power * log_q, dim=0) - np.log(len(log_q))) / (power or 1.0)
        return (power_mean if power else -log_q.mean()) + penalty * (bias**2).mean()

    bias = minimized(loss, z.shape[1])
    return Adjustment(np.ones(1), bias - bias.mean(), {})


ADJUSTMENTS: dict[str, Callable[[Adjust, Given], Adjustment] | None] = {
    "none": None,
    "logit_adjustment": logit_adjustment,
    "tau_normalization": tau_normalization,
    "class_bias": class_bias,
    "temperature": temperature,
    "vector_scaling": vector_scaling,
}


def fit(settings: Adjust, given: Given) -> Adjustment:
    """The adjustment `settings.name`. Raises UsageError if it has to be fitted and there are no validation images."""
    adjust = ADJUSTMENTS[settings.name]
    assert adjust is not None
    if given.validation is None and needs_validation(settings):
        raise UsageError(
            f"adjust={settings.name}: it is fitted on the logits of validation images, which were not saved "
            "(dataset.validation=holdout)"
        )
    return adjust(settings, given)


def cross_fitted(settings: Adjust, given: Given) -> Predictions:
    """The validation images, adjusted by what was fitted on the other folds of them: not what it was fitted to."""
    validation = given.validation
    assert validation is not None
    logits = np.empty_like(validation.logits)
    for kept, out in folds_of(validation.labels, f"adjust={settings.name}"):
        logits[out] = fit(settings, replace(given, validation=validation.take(kept)))(validation.take(out)).logits
    return replace(validation, logits=logits)


def _of_highest_macro_recall(
    taus: Values, scale_and_bias: Callable[[float], tuple[Values | float, Values]], given: Given
) -> float:
    """The first of the taus whose logits have the highest macro recall on the validation images."""
    z, labels = given.logits_and_labels()
    support = np.bincount(labels, minlength=z.shape[1])
    recalls = []
    for tau in taus:
        scale, bias = scale_and_bias(float(tau))
        right = (z * scale + bias).argmax(axis=1) == labels
        of_class = np.bincount(labels, right, minlength=z.shape[1])[support > 0] / support[support > 0]
        recalls.append(round(of_class.mean(), 12))
    return float(taus[int(np.argmax(recalls))])
