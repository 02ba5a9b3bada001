"""Fronts of adjustments: each point is what evaluate.py adjust=... gives, fitted on validation images alone."""

from dataclasses import replace

import numpy as np
import pytest

from cifar_imbalance.configuration.fields import Adjust, ClassBias
from cifar_imbalance.evidence.adjustment import Given, fit
from cifar_imbalance.evidence.fronts import POWERS, TAUS, adjustment_fronts, as_trained
from cifar_imbalance.evidence.metrics import summarize
from cifar_imbalance.evidence.predictions import Predictions


def predictions(seed, n=600):
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    logits = generator.normal(size=(n, 4)) + 1.5 * np.eye(4)[labels] + [2.0, 1.0, 0.0, -1.0]
    counts = np.array([200, 80, 30, 10])
    hashes = np.arange(n, dtype=np.uint64)
    return Predictions(logits.astype(np.float32), labels, np.arange(n), hashes, tuple("abcd"), counts)


@pytest.fixture(scope="module")
def splits():
    return predictions(0), predictions(1)


def test_the_points_are_those_of_the_adjusted_test_logits(splits):
    validation, test = splits
    fronts = adjustment_fronts(validation, test)
    assert [point.strength for point in fronts["class_bias"]] == list(POWERS)
    for point in fronts["class_bias"]:
        settings = Adjust(name="class_bias", class_bias=ClassBias(power=point.strength))
        summary = summarize(fit(settings, Given(validation, test.train_images))(test))
        assert point.accuracy == pytest.approx(summary["accuracy"])
        assert point.worst_decile_recall == pytest.approx(summary["worst_decile_recall"])
    prior = test.train_images / test.train_images.sum()
    for point in fronts["logit_adjustment"]:
        right = (test.logits - point.strength * np.log(prior)).argmax(axis=1) == test.labels
        assert point.accuracy == pytest.approx(right.mean())
    trained = as_trained(test)
    assert trained.accuracy == pytest.approx(summarize(test)["accuracy"])
    assert max(point.worst_decile_recall for point in fronts["class_bias"]) > trained.worst_decile_recall


def test_the_tau_that_validation_images_choose_is_marked_whatever_the_test_images_say(splits):
    validation, test = splits
    chosen = fit(Adjust(name="logit_adjustment"), Given(validation, test.train_images)).fitted["tau"]
    for other in (test, replace(test, labels=test.labels[::-1].copy())):
        points = adjustment_fronts(validation, other)["logit_adjustment"]
        assert [point.strength for point in points if point.fitted] == [chosen]
        assert {*TAUS} <= {point.strength for point in points}


def test_logit_adjustment_is_left_out_where_it_changes_nothing_or_corrects_twice(splits):
    validation, test = splits
    balanced = replace(test, train_images=np.full(4, 50))
    assert list(adjustment_fronts(validation, balanced)) == ["class_bias"]
    assert list(adjustment_fronts(validation, test, corrected=True)) == ["class_bias"]
    assert list(adjustment_fronts(validation, replace(test, train_images=None))) == ["class_bias"]


def test_of_very_many_logits_no_class_bias_is_fitted(splits, monkeypatch):
    monkeypatch.setattr("cifar_imbalance.evidence.fronts.MOST_LOGITS", 600 * 4 - 1)
    assert list(adjustment_fronts(*splits)) == ["logit_adjustment"]
