"""Differences over seeds: Student's and Welch's t as SciPy has them, and what a few equal recalls must not show."""

import numpy as np
import pytest
from scipy import stats

from cifar_imbalance.evidence.seeds import fewest_deviations, pairing, seed_differences


@pytest.fixture
def runs():
    generator = np.random.default_rng(0)
    return generator.normal(0.5, 0.1, size=(5, 7)), generator.normal(0.6, 0.05, size=(5, 7))


def test_pairs_are_compared_as_by_scipys_paired_t_test(runs):
    first, second = runs
    found = seed_differences(first, second, paired=True)
    test = stats.ttest_rel(second, first)
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue)
    assert found.low == pytest.approx(interval.low) and found.high == pytest.approx(interval.high)
    assert found.difference == pytest.approx((second - first).mean(axis=0))
    assert found.second_sd == pytest.approx(second.std(axis=0, ddof=1))
    assert found.adjusted_p == pytest.approx(stats.false_discovery_control(test.pvalue))


def test_other_runs_are_compared_as_by_scipys_welch_test(runs):
    first, second = runs[0], runs[1][:3]
    found = seed_differences(first, second, paired=False)
    test = stats.ttest_ind(second, first, equal_var=False)
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue)
    assert found.low == pytest.approx(interval.low) and found.high == pytest.approx(interval.high)


def test_a_class_without_images_is_unknown_and_does_not_count_among_the_others(runs):
    first, second = runs
    without = seed_differences(first[:, 1:], second[:, 1:], paired=True)
    first, second = (np.where(np.arange(7) == 0, np.nan, side) for side in (first, second))
    found = seed_differences(first, second, paired=True)
    assert np.isnan(found.adjusted_p[0]) and not found.beyond_noise[0]
    assert found.adjusted_p[1:] == pytest.approx(without.adjusted_p)


@pytest.mark.parametrize("paired", [True, False])
def test_equal_runs_do_not_differ_and_runs_without_spread_do(paired):
    first = np.full((3, 2), 0.5)
    found = seed_differences(first, first + np.array([0.0, 0.1]), paired=paired)
    assert found.p.tolist() == [1.0, 0.0]
    assert found.low.tolist() == found.high.tolist() == pytest.approx([0.0, 0.1])


@pytest.mark.parametrize(("paired", "count"), [(True, 3), (True, 5), (False, 3)])
def test_recalls_that_are_equal_by_chance_are_not_discoveries(paired, count):
    """Without any difference, of 100 classes of 100 images none is found in 19 of 20 comparisons and more."""
    generator = np.random.default_rng(1)
    comparisons, with_some = 200, {0.0: 0, 0.01: 0}
    for _ in range(comparisons):
        recall = generator.uniform(0.2, 0.95, size=100)
        first, second = generator.binomial(100, recall, size=(2, count, 100)) / 100
        for step in with_some:
            with_some[step] += seed_differences(first, second, paired=paired, steps=step).beyond_noise.any()
    assert with_some[0.01] <= 0.05 * comparisons
    assert count > 3 or with_some[0.0] > with_some[0.01]  # what rounding must be counted for


def test_runs_are_paired_by_the_seeds_in_common_or_not_at_all():
    both = pairing([3, 0, 1], [1, 7, 3])
    assert (both.first, both.second, both.seeds) == ([2, 0], [0, 2], [1, 3])
    one = pairing([0, 1], [1, 2, 3])
    assert (one.first, one.second, one.seeds) == ([0, 1], [0, 1, 2], [])


def test_the_difference_that_counts_for_one_class_alone():
    deviations = fewest_deviations(3, 100)
    differences = np.array([-1.0, 0.0, 1.0])[:, None] + deviations  # of standard deviation 1
    zeros = np.zeros_like(differences)
    p = seed_differences(zeros, differences, paired=True).p[0]
    assert p == pytest.approx(0.05 / 100)
