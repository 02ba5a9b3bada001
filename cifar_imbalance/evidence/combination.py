"""Ensembles: combining several models' logits on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.predictions import Predictions

LARGEST_CHANGE = 1e-6  # of a weight, below which the optimisation of the weights stops
MOST_ROUNDS = 10_000
LARGEST = np.finfo(np.float32).max


def combine(
    members: Sequence[Predictions], how: str, *, validation: Sequence[Predictions] | None = None
) -> Predictions:
    """The ensemble's predictions. Its logits are log-probabilities, or for mean_logit the mean of the members' logits;
    of one member they are its own.

    mean_probability: the mean of the members' softmax. mean_logit: the mean of their logits, centred for each image,
    since softmax is invariant to a constant. weighted: the mean of softmax with `mixture_weights` from `validation`,
    the members' predictions on the validation images. Raises UsageError if the members' images differ.
    """
    members = paired(members)
    if len(members) == 1:
        return members[0]
    alike = replace(members[0], train_images=_train_images_of_all(members))
    if how == "mean_logit":
        each = (member.logits.astype(np.float64) for member in members)
        mean = np.mean([logits - logits.mean(axis=1, keepdims=True) for logits in each], axis=0)
        return replace(alike, logits=mean.clip(-LARGEST, LARGEST).astype(np.float32))
    weights = np.full(len(members), 1 / len(members))
    if how == "weighted":
        if validation is None:
            raise UsageError("ensemble.combine=weighted: the members have no validation images to fit the weights on")
        weights = mixture_weights(validation)
    logits = logsumexp(log_probabilities(members), axis=0, b=weights[:, None, None])
    return replace(alike, logits=np.maximum(logits, -LARGEST).astype(np.float32))


def _train_images_of_all(members: Sequence[Predictions]) -> NDArray[np.int64] | None:
    """The training images of each class [K], of members that differ their mean; None where one's are not known."""
    counts = [member.train_images for member in members if member.train_images is not None]
    return np.rint(np.mean(counts, axis=0)).astype(np.int64) if len(counts) == len(members) else None


def log_probabilities(members: Sequence[Predictions]) -> NDArray[np.float64]:
    """[members, n, K] in float64."""
    return log_softmax(np.stack([member.logits for member in members]).astype(np.float64), axis=2)


def mixture_weights(validation: Sequence[Predictions]) -> NDArray[np.float64]:
    """The weights [members], at least 0 and summing to 1, of the softmax mixture that maximises the labels' likelihood.

    A concave problem, solved by expectation-maximisation from equal weights: each member's new weight is its mean share
    of the mixture's probability of the labels.
    """
    validation = paired(validation)
    labels = validation[0].labels
    likelihoods = np.exp(log_probabilities(validation)[:, np.arange(len(labels)), labels])
    likelihoods = np.maximum(likelihoods, np.finfo(np.float64).tiny)
    weights = np.full(len(validation), 1 / len(validation))
    for _ in range(MOST_ROUNDS):
        shares = weights[:, None] * likelihoods
        new = (shares / shares.sum(axis=0)).mean(axis=1)
        change, weights = np.abs(new - weights).max(), new
        if change < LARGEST_CHANGE:
            break
    return weights


def paired(members: Sequence[Predictions], names: Sequence[str] = ()) -> list[Predictions]:
    """All predictions in the order of the first's images; `names` are used in error messages.

    Images are paired by pixels and labels, whatever their position in the data set: class folders and torchvision's
    archives are ordered differently. Raises UsageError if the images or the classes differ.
    """
    names = names or [f"member {number}" for number in range(len(members))]
    first = members[0]
    order = _order(first)
    result = [first]
    for name, other in zip(names[1:], members[1:], strict=True):
        if other.class_names != first.class_names:
            raise UsageError(f"{name}: its classes are not those of {names[0]}")
        if not _same_images(first, other):
            if len(other.labels) == len(first.labels):
                places = np.empty_like(order)
                places[order] = _order(other)
                other = other.take(places)
            if not _same_images(first, other):
                raise UsageError(f"{name}: it was evaluated on other images than {names[0]}")
        result.append(other)
    return result


def _order(predictions: Predictions) -> NDArray[np.int64]:
    """[n], a canonical order of the images, whatever their own order; equal images are interchangeable."""
    return np.lexsort((predictions.labels, predictions.hashes))


def _same_images(first: Predictions, second: Predictions) -> bool:
    return np.array_equal(first.hashes, second.hashes) and np.array_equal(first.labels, second.labels)
