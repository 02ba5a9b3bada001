"""The gain of an ensemble over its members, on small arrays with known results."""

import numpy as np
import pytest

from cifar_imbalance.evidence.combination import combine
from cifar_imbalance.evidence.diversity import METRICS_BY_SIZE, SUBSETS_OF_A_SIZE, class_gains, metrics_by_size
from cifar_imbalance.evidence.predictions import Predictions

LABELS = np.array([0, 0, 1, 1])


def member(*predicted, sure=0.9, classes=3):
    probabilities = np.full((len(predicted), classes), (1 - sure) / (classes - 1))
    probabilities[np.arange(len(predicted)), predicted] = sure
    n = len(predicted)
    names = tuple(f"c{k}" for k in range(classes))
    return Predictions(
        np.log(probabilities).astype(np.float32), LABELS, np.arange(n), np.arange(n, dtype=np.uint64), names
    )


MEMBERS = [member(0, 0, 1, 2), member(0, 1, 1, 2), member(0, 0, 1, 1)]


def test_gain_and_disagreement_by_class():
    gains = class_gains(MEMBERS, combine(MEMBERS, "mean_probability"))
    # class 0: recalls 1, 0.5, 1; two of three pairs differ on its second image. class 1: recalls 0.5, 0.5, 1.
    assert gains.mean_member_recall[:2] == pytest.approx([5 / 6, 2 / 3])
    assert gains.ensemble_recall[:2] == pytest.approx([1.0, 0.5])
    assert gains.gain[:2] == pytest.approx([1 / 6, -1 / 6])
    assert gains.disagreement[:2] == pytest.approx([(0 + 2 / 3) / 2, (0 + 2 / 3) / 2])
    assert np.isnan(gains.gain[2]) and np.isnan(gains.disagreement[2])


def test_equal_members_have_no_diversity():
    gains = class_gains([MEMBERS[0]] * 3, MEMBERS[0])
    assert gains.disagreement[:2] == pytest.approx([0, 0])
    assert gains.mutual_information[:2] == pytest.approx([0, 0], abs=1e-6)
    assert gains.gain[:2] == pytest.approx([0, 0])


def test_the_mutual_information_of_two_sure_members_that_differ_is_log_2():
    members = [member(0, 0, 0, 0, sure=1 - 1e-7), member(1, 1, 0, 0, sure=1 - 1e-7)]
    gains = class_gains(members, combine(members, "mean_probability"))
    assert gains.mutual_information[:2] == pytest.approx([np.log(2), 0], abs=1e-4)


def test_every_subset_has_its_row_and_the_largest_is_the_ensemble():
    rows = metrics_by_size(MEMBERS, "mean_probability")
    assert [row["members"] for row in rows] == [1, 1, 1, 2, 2, 2, 3]
    assert [row["accuracy"] for row in rows[:3]] == [0.75, 0.5, 1.0]
    assert rows[-1]["accuracy"] == 0.75
    assert set(rows[0]) == {"members", *METRICS_BY_SIZE}


def test_many_subsets_are_sampled_by_seed():
    members = [MEMBERS[k % 3] for k in range(8)]
    rows = metrics_by_size(members, "mean_logit", seed=1)
    assert rows == metrics_by_size(members, "mean_logit", seed=1)
    counts = [sum(row["members"] == size for row in rows) for size in range(1, 9)]
    assert counts == [8, 28, SUBSETS_OF_A_SIZE, SUBSETS_OF_A_SIZE, SUBSETS_OF_A_SIZE, 28, 8, 1]
