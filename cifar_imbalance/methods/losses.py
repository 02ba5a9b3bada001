"""Losses: pure functions of logits and labels that give a value for each image, looked up by `loss.name`.

The step weights them: the loss of a batch is sum(w l) / sum(w), with w the weight of each image's class. A loss may use
`classes`, tensors [K] on its device: "counts", the training images of each class, and "weight".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from cifar_imbalance.configuration.fields import Loss

Logits = Float[Tensor, "batch classes"]
Labels = Int[Tensor, " batch"]
Losses = Float[Tensor, " batch"]
ClassTensors = Mapping[str, Float[Tensor, " classes"]]


def cross_entropy(logits: Logits, labels: Labels, classes: ClassTensors, settings: Loss) -> Losses:
    """Cross-entropy; the target has 1 - label_smoothing, all classes share the rest equally (Szegedy 2016)."""
    return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=settings.label_smoothing)


def focal(logits: Logits, labels: Labels, classes: ClassTensors, settings: Loss) -> Losses:
    """(1 - p)^gamma times the cross-entropy, p the probability of the label (Lin 2017, eq. 4).

    p comes from the logits alone, so that class weights stay factors; label_smoothing is that of the cross-entropy.
    """
    assert settings.focal is not None  # set by the configuration's choice
    log_p = functional.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
    missing = -torch.expm1(log_p)
    # At exactly 0 the gradient of a power below 1 is infinite.
    modulation = missing.clamp(min=torch.finfo(missing.dtype).eps) ** settings.focal.gamma
    return modulation * cross_entropy(logits, labels, classes, settings)


def ldam(logits: Logits, labels: Labels, classes: ClassTensors, settings: Loss) -> Losses:
    """Cross-entropy with the label's logit lowered by a margin that grows as n^(-1/4) falls (Cao 2019, eq. 12, 13).

    The paper scales the cosines after the margin; here the head has the scale, and the margin is in its units.
    """
    assert settings.ldam is not None  # set by the configuration's choice
    inverse = classes["counts"] ** -0.25
    margins = settings.ldam.max_margin * inverse / inverse.max()
    lowered = logits - functional.one_hot(labels, logits.shape[1]) * margins
    return cross_entropy(lowered, labels, classes, settings)


def balanced_softmax(logits: Logits, labels: Labels, classes: ClassTensors, settings: Loss) -> Losses:
    """Cross-entropy of z + log n (Ren 2020, eq. 4); predictions use z itself."""
    return _adjusted(logits, labels, classes, settings, tau=1.0)


def logit_adjustment(logits: Logits, labels: Labels, classes: ClassTensors, settings: Loss) -> Losses:
    """Cross-entropy of z + tau log n (Menon 2021, eq. 10); predictions use z itself."""
    assert settings.logit_adjustment is not None  # set by the configuration's choice
    return _adjusted(logits, labels, classes, settings, tau=settings.logit_adjustment.tau)


def _adjusted(logits: Logits, labels: Labels, classes: ClassTensors, settings: Loss, *, tau: float) -> Losses:
    """Cross-entropy of z + tau log n, whose label smoothing is shared in proportion to n^tau instead of equally:

    then it asks for equal z, as it does without the adjustment.
    """
    prior = torch.log_softmax(tau * classes["counts"].log(), dim=0)
    log_p = functional.log_softmax(logits + prior, dim=1)
    of_label = log_p.gather(1, labels[:, None]).squeeze(1)
    smoothing = settings.label_smoothing
    return -(1.0 - smoothing) * of_label - smoothing * (prior.exp() * log_p).sum(dim=1)


def gml(logits: Logits, labels: Labels, classes: ClassTensors, settings: Loss) -> Losses:
    """-log of the mean probability that a class's own images of the batch have for it, the mean over the classes
    that have some (Du and Wu 2023): a soft geometric mean of recalls.

    Given for each image, so that the mean over the images of the batch is that of its classes.
    """
    log_p = functional.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
    same = labels[:, None] == labels
    count = same.sum(dim=1).to(log_p.dtype)
    of_class = count.log() - log_p.expand_as(same).masked_fill(~same, -torch.inf).logsumexp(dim=1)
    share = 1.0 / count
    return of_class * share * (len(labels) / share.sum())


NEED_IMAGES = ("ldam", "balanced_softmax", "logit_adjustment")  # of every class: their values for none are infinite

LOSSES: dict[str, Callable[[Logits, Labels, ClassTensors, Loss], Losses]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "ldam": ldam,
    "balanced_softmax": balanced_softmax,
    "logit_adjustment": logit_adjustment,
    "gml": gml,
}


def weighted_mean(parts: Sequence[tuple[Losses, Losses]]) -> Float[Tensor, ""]:
    """The mean of losses with their weights, in one part or several; 0 where all weights are 0."""
    totals, weights = zip(*(((weight * losses).sum(), weight.sum()) for losses, weight in parts), strict=True)
    weight = sum(weights[1:], weights[0])
    return sum(totals[1:], totals[0]) / weight.clamp(min=torch.finfo(weight.dtype).tiny)
