"""Significance: exact tests and intervals against published or hand-computed values."""

import numpy as np
import pytest

from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.significance import difference_interval, paired_test


def answers(right, labels, *, first_hash=0):
    """Predictions that are correct where `right` is true, and class 2 elsewhere."""
    predicted = np.where(right, labels, 2)
    n = len(labels)
    hashes = np.arange(n, dtype=np.uint64) + np.uint64(first_hash)
    return Predictions(np.eye(3, dtype=np.float32)[predicted], labels, np.arange(n), hashes, ("a", "b", "none"))


def test_mcnemars_exact_test_by_class():
    labels = np.repeat([0, 1], 20)
    first = np.ones(40, bool)
    second = np.ones(40, bool)
    first[:10] = False  # class 0: the second alone has 10, the first alone none: p = 2 / 2^10
    first[20:23] = False  # class 1: 3 against 1: p = 2 (1 + 4) / 2^4
    second[23] = False
    found = paired_test(answers(first, labels), answers(second, labels))
    assert found.only_second.tolist() == [10, 3, 0] and found.only_first.tolist() == [0, 1, 0]
    assert found.p[:2] == pytest.approx([2 / 2**10, 10 / 16])
    assert found.adjusted_p[:2] == pytest.approx([4 / 2**10, 10 / 16])  # times 2, then capped by the next
    assert np.isnan(found.p[2])
    assert found.beyond_noise.tolist() == [True, False, False]


def test_a_model_does_not_differ_from_itself():
    labels = np.repeat([0, 1], 5)
    found = paired_test(answers(labels == 0, labels), answers(labels == 0, labels))
    assert found.p[:2].tolist() == [1.0, 1.0] and not found.beyond_noise.any()


def test_only_the_same_images_are_paired():
    labels = np.repeat([0, 1], 5)
    with pytest.raises(UsageError, match="other images"):
        paired_test(answers(labels == 0, labels), answers(labels == 0, labels, first_hash=1))


def test_newcombes_interval_of_a_difference():
    """Newcombe 1998, table II, method 10, cases (a) 56/70 - 48/80 and (d) 5/56 - 0/29."""
    first, second = np.array([48 / 80, 0.0, np.nan]), np.array([56 / 70, 5 / 56, 0.5])
    images_1, images_2 = np.array([80, 29, 0]), np.array([70, 56, 10])
    low, high = difference_interval(first, second, images_1=images_1, images_2=images_2)
    assert low[:2] == pytest.approx([0.0524, -0.0381], abs=5e-5)
    assert high[:2] == pytest.approx([0.3339, 0.1926], abs=5e-5)
    assert np.isnan(low[2])
