"""Several models as one: by mean probability, by mean logit, weighted by validation."""

import numpy as np
import pytest
from scipy.special import softmax

from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.combination import combine, mixture_weights
from cifar_imbalance.evidence.predictions import Predictions


def answers(*logits, labels=None, hashes=None):
    rows = np.array(logits, np.float32)
    n, classes = rows.shape
    labels = np.zeros(n, np.int64) if labels is None else np.array(labels)
    hashes = np.arange(n, dtype=np.uint64) if hashes is None else np.array(hashes, np.uint64)
    return Predictions(rows, labels, np.arange(n), hashes, tuple(f"c{k}" for k in range(classes)))


def of_probabilities(*rows, **settings):
    return answers(*np.log(np.array(rows)), **settings)


def test_mean_probability_is_the_mean_of_the_softmax():
    one, other = of_probabilities([0.9, 0.1]), of_probabilities([0.3, 0.7])
    combined = combine([one, other], "mean_probability")
    assert softmax(combined.logits, axis=1)[0] == pytest.approx([0.6, 0.4])


def test_mean_logit_is_the_geometric_mean_and_invariant_to_constants():
    one, other = of_probabilities([0.9, 0.1]), of_probabilities([0.3, 0.7])
    shifted = answers(other.logits[0] + 100)
    expected = np.sqrt([0.9 * 0.3, 0.1 * 0.7])
    for second in (other, shifted):
        probability = softmax(combine([one, second], "mean_logit").logits, axis=1)[0]
        assert probability == pytest.approx(expected / expected.sum(), rel=1e-4)


def test_the_two_means_may_disagree():
    sure, unsure = of_probabilities([0.9999, 0.0001]), of_probabilities([0.30, 0.70])
    also_unsure = of_probabilities([0.15, 0.85])
    members = [sure, unsure, also_unsure]
    assert combine(members, "mean_probability").predicted.tolist() == [1]
    assert combine(members, "mean_logit").predicted.tolist() == [0]


def test_an_ensemble_of_one_member_is_that_member():
    one = answers([2.0, -1.0, 0.5])
    for how in ("mean_probability", "mean_logit"):
        combined = combine([one], how)
        assert softmax(combined.logits, axis=1) == pytest.approx(softmax(one.logits, axis=1), rel=1e-6)


def test_probabilities_that_underflow_stay_finite():
    combined = combine([answers([0.0, -1e30]), answers([0.0, -1e38])], "mean_probability")
    assert np.isfinite(combined.logits).all()
    assert combined.predicted.tolist() == [0]


def test_the_weights_maximise_the_likelihood_of_the_validation_labels():
    # Of n images the first member is right on a share a with certainty, the second on the others: the weight is a.
    good = [[1 - 1e-9, 1e-9]] * 3 + [[1e-9, 1 - 1e-9]]
    bad = [[1e-9, 1 - 1e-9]] * 3 + [[1 - 1e-9, 1e-9]]
    members = [of_probabilities(*good), of_probabilities(*bad)]
    assert mixture_weights(members) == pytest.approx([0.75, 0.25], abs=1e-6)
    test = [of_probabilities([0.8, 0.2]), of_probabilities([0.0001, 0.9999])]
    weighted = combine(test, "weighted", validation=members)
    assert softmax(weighted.logits, axis=1)[0, 0] == pytest.approx(0.75 * 0.8, abs=1e-3)


def test_a_member_that_is_better_on_every_image_gets_all_the_weight():
    members = [of_probabilities([0.9, 0.1], [0.8, 0.2]), of_probabilities([0.5, 0.5], [0.4, 0.6])]
    assert mixture_weights(members) == pytest.approx([1, 0], abs=1e-3)


def test_images_are_paired_by_hash_whatever_their_position():
    one = of_probabilities([0.9, 0.1], [0.2, 0.8], [0.7, 0.3], labels=[0, 1, 1], hashes=[5, 6, 6])
    other = of_probabilities([0.6, 0.4], [0.4, 0.6], [0.1, 0.9], labels=[1, 1, 0], hashes=[6, 6, 5])
    combined = combine([one, other], "mean_probability")
    assert combined.hashes.tolist() == [5, 6, 6] and combined.labels.tolist() == [0, 1, 1]
    assert softmax(combined.logits, axis=1)[0] == pytest.approx([0.5, 0.5])


def test_members_with_different_images_are_rejected():
    with pytest.raises(UsageError, match="member 1: it was evaluated on other images than member 0"):
        combine([answers([0.0, 1.0]), answers([0.0, 1.0], hashes=[7])], "mean_logit")
    with pytest.raises(UsageError, match="member 1: its classes are not those of member 0"):
        combine([answers([0.0, 1.0]), answers([0.0, 1.0, 2.0])], "mean_logit")
    with pytest.raises(UsageError, match="weighted: the members have no validation images"):
        combine([answers([0.0, 1.0])] * 2, "weighted")


@pytest.mark.parametrize("how", ["mean_probability", "mean_logit"])
def test_the_largest_finite_logits_are_combined(how):
    largest = np.finfo(np.float32).max
    both = [answers([largest, -largest], [0, largest]), answers([largest, 0], [-largest, largest])]
    assert combine(both, how).predicted.tolist() == [0, 1]
