"""What the probabilities say beyond the predicted classes, in one pass over the logits: likelihood and calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torchmetrics.functional.classification import binary_calibration_error

from cifar_imbalance.evidence.predictions import Predictions

BINS = 15
_AT_ONCE = 2**22  # logits
_BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Of n images and K classes; the errors are in shares, not per cent."""

    loss: float  # mean negative log-likelihood
    brier: float  # mean of sum_k (p_k - y_k)^2, 0 to 2 (Brier 1950)
    top5: float  # share of images whose class is among the five of largest logits; NaN of five classes or fewer
    confidence: Values  # [K], mean probability of the prediction for the images of a class; NaN without images
    calibration_error: float  # of the predictions' confidence, in bins of equal width
    calibration_error_equal_mass: float  # the same in bins of equally many images
    calibration_errors: Values  # [K], of the probability of each class over all images (Kull 2019)


def measured(predictions: Predictions) -> Probabilities:
    """The probabilities of all images, softmax of their logits, against their labels."""
    labels, classes = predictions.labels, len(predictions.class_names)
    loss, brier, in_top5, confidences = 0.0, 0.0, 0, np.empty(len(labels))
    in_bin, labelled, summed = np.zeros((3, classes * BINS))
    for start, stop in parts(*predictions.logits.shape):
        logits, of_part = predictions.logits[start:stop], labels[start:stop]
        rows = np.arange(len(logits))
        log_p = log_softmax(logits.astype(np.float64), axis=1)
        p = np.exp(log_p)
        loss -= log_p[rows, of_part].sum()
        of_label = p[rows, of_part]
        brier += (p**2).sum() - 2 * of_label.sum() + len(rows)
        in_top5 += (np.sum(logits > logits[rows, of_part][:, None], axis=1) < 5).sum()
        confidences[start:stop] = p.max(axis=1)
        bins = np.minimum((p * BINS).astype(np.int64), BINS - 1) + np.arange(classes) * BINS
        in_bin += np.bincount(bins.ravel(), minlength=classes * BINS)
        summed += np.bincount(bins.ravel(), p.ravel(), minlength=classes * BINS)
        labelled += np.bincount(bins[rows, of_part], minlength=classes * BINS)
    correct, n = predictions.predicted == labels, len(labels)
    support = np.bincount(labels, minlength=classes)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(labels, confidences, minlength=classes) / support
    return Probabilities(
        loss=float(loss / n),
        brier=float(brier / n),
        top5=float(in_top5 / n) if classes > 5 else float("nan"),
        confidence=confidence,
        calibration_error=_of_equal_width(confidences, correct),
        calibration_error_equal_mass=_of_equal_mass(confidences, correct),
        calibration_errors=np.abs(labelled - summed).reshape(classes, BINS).sum(axis=1) / n,
    )


def parts(images: int, classes: int) -> Iterator[tuple[int, int]]:
    """Ranges of images whose logits need little memory together."""
    rows = max(1, _AT_ONCE // classes)
    for start in range(0, images, rows):
        yield start, min(start + rows, images)


def _of_equal_width(confidences: Values, correct: NDArray[np.bool_]) -> float:
    # torchmetrics has a bin of its own for a confidence of exactly 1, which belongs to the last one.
    clamped = torch.from_numpy(confidences).float().clamp(max=_BELOW_ONE)
    return float(binary_calibration_error(clamped, torch.from_numpy(correct), n_bins=BINS))


def _of_equal_mass(confidences: Values, correct: NDArray[np.bool_]) -> float:
    order = np.argsort(confidences, kind="stable")
    groups = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs(confidences[g].sum() - correct[g].sum()) for g in groups) / len(order))
