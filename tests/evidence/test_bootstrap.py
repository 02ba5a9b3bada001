"""Intervals by bootstrap: those of resampled images, keyed, and fast."""

import time

import numpy as np
import pytest
from scipy.stats import binom

from cifar_imbalance.evidence.bootstrap import intervals, paired_differences, worst_decile


def test_the_interval_of_a_recall_is_that_of_its_binomial_distribution():
    """Of one class of 400 images, 300 of them right, and one that is always right."""
    found = intervals(np.array([[300, 100], [0, 50]]))
    low, high = binom.ppf([0.025, 0.975], 400, 0.75) / 400
    assert found["worst_recall"] == pytest.approx([low, high], abs=0.006)
    assert found["accuracy"] == pytest.approx([(400 * low + 50) / 450, (400 * high + 50) / 450], abs=0.006)


def test_they_are_those_of_images_drawn_with_replacement_within_each_class():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), [40, 30, 20, 10])
    predicted = np.where(generator.random(100) < 0.7, labels, generator.integers(4, size=100))
    confusion = np.bincount(labels * 4 + predicted, minlength=16).reshape(4, 4)
    f1, decile = [], []
    for _ in range(3000):
        chosen = np.concatenate([generator.choice(np.flatnonzero(labels == k), sum(labels == k)) for k in range(4)])
        drawn = np.bincount(labels[chosen] * 4 + predicted[chosen], minlength=16).reshape(4, 4)
        right = drawn.diagonal()
        f1.append((2 * right / (drawn.sum(0) + drawn.sum(1))).mean())
        decile.append((right / drawn.sum(1)).min())
    found = intervals(confusion)
    assert found["macro_f1"] == pytest.approx(np.percentile(f1, [2.5, 97.5]), abs=0.015)
    assert found["worst_decile_recall"] == pytest.approx(np.percentile(decile, [2.5, 97.5]), abs=0.03)


def test_absent_classes_are_left_out_and_draws_are_keyed():
    confusion = np.array([[9, 1, 0], [0, 0, 0], [2, 0, 8]])
    assert intervals(confusion) == intervals(confusion) != intervals(confusion, seed=1)
    assert intervals(np.diag([5, 0, 3]))["macro_recall"] == [1, 1]


def test_the_worst_decile_is_the_mean_of_a_tenth_of_the_classes_rounded_up():
    recalls = np.linspace(0, 1, 11)[::-1]
    assert worst_decile(recalls) == pytest.approx(0.05)  # of 0 and 0.1
    assert worst_decile(np.stack([recalls, recalls])).shape == (2,)


def test_2000_draws_of_10000_images_of_100_classes_take_less_than_two_seconds():
    generator = np.random.default_rng(0)
    confusion = np.stack([generator.multinomial(100, generator.dirichlet(np.full(100, 0.3))) for _ in range(100)])
    started = time.process_time()
    intervals(confusion)
    assert time.process_time() - started < 2


def test_the_difference_of_two_models_takes_both_answers_to_an_image():
    labels = np.repeat([0, 1], [200, 100])
    first = np.tile([True, False], 150)
    assert paired_differences(labels, first, first)["accuracy"] == [0, 0, 0]
    second = first.copy()
    second[:40] = True  # 20 more of class 0
    difference, low, high = paired_differences(labels, first, second)["accuracy"]
    assert difference == pytest.approx(20 / 300)
    assert [low, high] == pytest.approx(binom.ppf([0.025, 0.975], 200, 0.1) / 300, abs=0.006)
    assert paired_differences(labels, second, first)["macro_recall"][0] == pytest.approx(-0.05)
