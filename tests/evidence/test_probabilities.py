"""Likelihood and calibration against their formulas, computed another way."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.probabilities import BINS, measured


@pytest.fixture(scope="module")
def predictions():
    generator = np.random.default_rng(0)
    labels = generator.integers(8, size=500)
    logits = generator.normal(size=(500, 8)).astype(np.float32) * 2
    logits[np.arange(500), labels] += 2
    return Predictions(logits, labels, np.arange(500), np.arange(500, dtype=np.uint64), tuple("abcdefgh"))


def test_likelihood_and_brier_score(predictions):
    found = measured(predictions)
    p, one_hot = softmax(predictions.logits.astype(np.float64), axis=1), np.eye(8)[predictions.labels]
    assert found.loss == pytest.approx(-np.log(p[one_hot == 1]).mean(), rel=1e-12)
    assert found.brier == pytest.approx(((p - one_hot) ** 2).sum(1).mean(), rel=1e-12)


def test_top_5_and_calibration_are_torchmetrics(predictions):
    found = measured(predictions)
    logits, labels = torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels)
    top5 = multiclass_accuracy(logits, labels, num_classes=8, average="micro", top_k=5)
    assert found.top5 == pytest.approx(float(top5), abs=1e-6)
    expected = multiclass_calibration_error(logits.softmax(1), labels, num_classes=8, n_bins=BINS)
    assert found.calibration_error == pytest.approx(float(expected), abs=1e-6)


def test_bins_of_equal_mass(predictions):
    p = softmax(predictions.logits.astype(np.float64), axis=1)
    confidence, right = p.max(1), p.argmax(1) == predictions.labels
    groups = np.array_split(np.argsort(confidence), BINS)
    expected = sum(len(g) / 500 * abs(confidence[g].mean() - right[g].mean()) for g in groups)
    assert measured(predictions).calibration_error_equal_mass == pytest.approx(expected, rel=1e-9)


def test_calibration_of_each_class(predictions):
    p = softmax(predictions.logits.astype(np.float64), axis=1)
    errors = []
    for k in range(8):
        bins = np.minimum((p[:, k] * BINS).astype(int), BINS - 1)
        of_class = predictions.labels == k
        parts = [(bins == b).mean() * abs(p[bins == b, k].mean() - of_class[bins == b].mean()) for b in set(bins)]
        errors.append(sum(parts))
    assert measured(predictions).calibration_errors == pytest.approx(errors, rel=1e-9)


def test_the_confidence_of_a_class_is_that_of_its_images(predictions):
    p = softmax(predictions.logits.astype(np.float64), axis=1).max(1)
    expected = [p[predictions.labels == k].mean() for k in range(8)]
    assert measured(predictions).confidence == pytest.approx(expected, rel=1e-12)
    without = predictions.take(np.flatnonzero(predictions.labels != 3))
    assert np.isnan(measured(without).confidence[3])
