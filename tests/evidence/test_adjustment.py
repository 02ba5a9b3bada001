"""Adjustments of logits: what they are fitted to, and that they do no more than they say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from cifar_imbalance.configuration.fields import (
    Adjust,
    AdjustByPrior,
    ClassBias,
    ShiftedPrior,
    TauNormalization,
    VectorScaling,
)
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.adjustment import Given, Head, cross_fitted, fit
from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.priors import shifted

COUNTS = np.array([900, 300, 90, 30, 10])


def images(n=2000, *, seed=0, prior=COUNTS, scale=1.0):
    """Predictions on a balanced set by a model that has learned the classes' `prior`, `scale` times too confident."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % len(prior)
    logits = generator.normal(size=(n, len(prior)))
    logits[np.arange(n), labels] += 2.0
    logits = scale * (logits * 2 + np.log(prior / prior.sum()))
    hashes = np.arange(n, dtype=np.uint64) + np.uint64(seed * 10**6)
    return Predictions(logits.astype(np.float32), labels, np.arange(n), hashes, tuple("abcde"), prior)


def test_a_given_tau_subtracts_so_many_times_the_log_of_the_prior():
    settings = Adjust(name="logit_adjustment", logit_adjustment=AdjustByPrior(tau=0.7))
    found = fit(settings, Given(None, COUNTS))(images())
    expected = images().logits - 0.7 * np.log(COUNTS / COUNTS.sum())
    assert np.allclose(found.logits, expected, atol=1e-5)


def test_a_fitted_tau_removes_the_prior_that_the_model_has_learned():
    adjustment = fit(Adjust(name="logit_adjustment"), Given(images(20_000), COUNTS))
    assert adjustment.fitted["tau"] == pytest.approx(1, abs=0.25)
    test = images(seed=1)
    assert summarize(adjustment(test))["macro_recall"] > summarize(test)["macro_recall"] + 0.02


def test_the_class_bias_lifts_a_class_that_is_never_predicted_however_far_it_is():
    hopeless = images()
    hopeless.logits[:, 4] -= 60
    after = fit(Adjust(name="class_bias", class_bias=ClassBias(power=0.5)), Given(hopeless))(hopeless)
    assert class_metrics(hopeless).recall[4] == 0 and class_metrics(after).recall[4] > 0.3


def tau_normalized(tau=None):
    return Adjust(name="tau_normalization", tau_normalization=TauNormalization(tau=tau))


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_tau_normalisation_gives_the_logits_of_a_head_with_normalised_class_vectors_and_no_bias(tau):
    generator = np.random.default_rng(0)
    features, vectors, bias = (generator.normal(size=size) for size in ((2000, 8), (5, 8), 5))
    logits = (features @ vectors.T + bias).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    found = fit(tau_normalized(tau), Given(head=Head(norms, bias)))(replace(images(), logits=logits))
    assert np.allclose(found.logits, features @ (vectors / norms[:, None] ** tau).T, atol=1e-5)


def test_a_fitted_tau_is_the_first_of_the_highest_macro_recall():
    head = Head(np.sqrt(COUNTS), np.zeros(5))
    validation = images()
    tau = fit(tau_normalized(), Given(validation, head=head)).fitted["tau"]
    recall = {
        one: summarize(fit(tau_normalized(one), Given(head=head))(validation))["macro_recall"]
        for one in np.linspace(0, 1, 21).round(2)
    }
    best = max(recall.values())
    assert tau == pytest.approx(min(one for one, value in recall.items() if value == pytest.approx(best, abs=1e-9)))


def test_the_temperature_undoes_a_scale_and_changes_no_prediction():
    plain, scaled = (fit(Adjust(name="temperature"), Given(images(scale=s))).fitted["temperature"] for s in (1, 3))
    assert scaled == pytest.approx(3 * plain, rel=1e-3)
    test = images(seed=1, scale=3)
    after = fit(Adjust(name="temperature"), Given(images(scale=3)))(test)
    assert np.array_equal(after.predicted, test.predicted)
    assert summarize(after)["loss"] < summarize(test)["loss"]


def test_vector_scaling_finds_the_scale_and_the_bias():
    generator = np.random.default_rng(0)
    z = generator.normal(size=(20_000, 3)) * 2
    scale, bias = np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.0, -1.0])
    p = softmax(scale * z + bias, axis=1)
    labels = (p.cumsum(1) > generator.random((20_000, 1))).argmax(1)
    drawn = Predictions(
        z.astype(np.float32), labels, np.arange(20_000), np.arange(20_000, dtype=np.uint64), tuple("abc")
    )
    found = fit(Adjust(name="vector_scaling", vector_scaling=VectorScaling(penalty=0)), Given(drawn))
    assert found.scale == pytest.approx(scale, abs=0.08)
    assert found.bias == pytest.approx(bias, abs=0.08)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_the_class_bias_minimises_the_power_mean_of_the_classes_probabilities(power):
    validation = images()
    found = fit(Adjust(name="class_bias", class_bias=ClassBias(power=power, penalty=0)), Given(validation))

    def objective(bias):
        p = np.exp(log_softmax(validation.logits.astype(np.float64) + bias, axis=1))
        q = np.array([p[validation.labels == k, k].mean() for k in range(5)])
        return -np.log(q).mean() if power == 0 else np.log((q**-power).mean()) / power

    at_best = objective(found.bias)
    assert at_best < objective(np.zeros(5))
    for _ in range(20):
        assert at_best <= objective(found.bias + np.random.default_rng(_).normal(size=5) * 0.05) + 1e-9
    assert found.bias.mean() == pytest.approx(0, abs=1e-9)


def test_a_higher_power_lifts_the_worst_class_more():
    test = images(seed=1)

    def worst(power):
        settings = Adjust(name="class_bias", class_bias=ClassBias(power=power))
        return class_metrics(fit(settings, Given(images()))(test)).recall.min()

    assert class_metrics(test).recall.min() < worst(0.0) < worst(2.0) + 0.02


def test_what_is_fitted_needs_validation_images():
    for name in ("class_bias", "temperature", "vector_scaling", "logit_adjustment"):
        with pytest.raises(UsageError, match=f"adjust={name}: it is fitted on the logits of validation images"):
            fit(Adjust(name=name), Given(None, COUNTS))
    with pytest.raises(UsageError, match="needs the training images of each class"):
        fit(Adjust(name="logit_adjustment", logit_adjustment=AdjustByPrior(tau=1)), Given())


def test_cross_fitting_adjusts_no_image_by_what_was_fitted_to_it():
    validation = images(40)
    settings = Adjust(name="vector_scaling", vector_scaling=VectorScaling(penalty=0.0001))
    before = cross_fitted(settings, Given(validation, COUNTS))
    changed = replace(validation, logits=validation.logits.copy())
    changed.logits[7] = -changed.logits[7]
    after = cross_fitted(settings, Given(changed, COUNTS))
    own = fit(settings, Given(validation, COUNTS))(validation)
    assert summarize(before)["loss"] > summarize(own)["loss"]  # which was fitted to the same images
    same_fold = np.flatnonzero((before.logits == after.logits).all(axis=1))
    assert 4 <= len(same_fold) < 12 and 7 not in same_fold  # its fold was fitted without it, before and after


@pytest.mark.parametrize(("profile", "first", "last"), [("forward", 400, 40), ("backward", 40, 400)])
def test_a_shifted_prior_keeps_a_long_tail_of_the_test_images(profile, first, last):
    found = shifted(images(), ShiftedPrior(profile=profile, factor=10.0))
    counts = np.bincount(found.labels)
    assert (counts[0], counts[-1]) == (first, last)
    middle = int(400 * 10 ** (-1 / 4))
    assert counts[1 if profile == "forward" else 3] == middle
    assert np.array_equal(found.hashes, shifted(images(), ShiftedPrior(profile=profile, factor=10.0)).hashes)
    assert shifted(images(), ShiftedPrior()).labels.shape == (2000,)
