"""Accuracy against the worst classes as the strength of an adjustment of saved logits grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cifar_imbalance.configuration.fields import Adjust, AdjustByPrior, ClassBias
from cifar_imbalance.evidence.adjustment import Adjustment, Given, fit
from cifar_imbalance.evidence.bootstrap import worst_decile
from cifar_imbalance.evidence.metrics import class_metrics
from cifar_imbalance.evidence.predictions import Predictions

TAUS = tuple(round(0.25 * step, 2) for step in range(1, 9))
POWERS = (0.0, 0.5, 1.0, 2.0, 4.0)
MOST_LOGITS = 2_000_000  # of the validation images: beyond, fitting the class biases takes minutes
STRENGTHS = {"logit_adjustment": "tau", "class_bias": "power"}


@dataclass(frozen=True)
class FrontPoint:
    """The test images by logits adjusted with one strength, or as they are (None)."""

    strength: float | None
    accuracy: float
    worst_decile_recall: float
    fitted: bool = False  # whether it is the strength that the validation images chose


def as_trained(test: Predictions) -> FrontPoint:
    return _point(test, None)


def adjustment_fronts(
    validation: Predictions, test: Predictions, *, corrected: bool = False
) -> dict[str, list[FrontPoint]]:
    """The points of each adjustment of the `test` logits, by its name; what it fits is fitted on `validation` alone.

    logit_adjustment: by TAUS and the tau that the validation images choose, unless all classes have equally many
    training images, where it changes nothing, or the logits are `corrected` for their numbers already. class_bias: by
    POWERS, of each of which the biases are fitted.
    """
    given = Given(validation, test.train_images)
    fronts: dict[str, list[FrontPoint]] = {}
    counts = test.train_images
    if not corrected and counts is not None and counts.all() and len(set(counts.tolist())) > 1:
        chosen = fit(_by_prior(None), given).fitted["tau"]
        taus = sorted({*TAUS, chosen} - {0.0})
        points = [_point(fit(_by_prior(tau), given)(test), tau, fitted=tau == chosen) for tau in taus]
        fronts["logit_adjustment"] = points
    if validation.logits.size <= MOST_LOGITS:
        fronts["class_bias"] = [_point(_biased(power, given)(test), power) for power in POWERS]
    return fronts


def _by_prior(tau: float | None) -> Adjust:
    return Adjust(name="logit_adjustment", logit_adjustment=AdjustByPrior(tau=tau))


def _biased(power: float, given: Given) -> Adjustment:
    return fit(Adjust(name="class_bias", class_bias=ClassBias(power=power)), given)


def _point(test: Predictions, strength: float | None, *, fitted: bool = False) -> FrontPoint:
    recalls = class_metrics(test).recall
    accuracy = float((test.predicted == test.labels).mean())
    return FrontPoint(strength, accuracy, float(worst_decile(recalls[~np.isnan(recalls)])), fitted)
