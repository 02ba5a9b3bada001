"""The area under the ROC curve is the share of pairs in the right order."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from cifar_imbalance.evidence.auroc import auroc
from cifar_imbalance.evidence.predictions import Predictions


def predictions(logits, labels, classes):
    n = len(labels)
    return Predictions(
        np.asarray(logits, dtype=np.float32), np.array(labels), np.arange(n), np.arange(n, dtype=np.uint64), classes
    )


def test_it_is_the_share_of_pairs_in_the_right_order_equal_ones_counting_half():
    found = auroc(predictions([[2.0, 0], [1, 0], [1, 0], [0, 0]], [0, 1, 0, 1], ("a", "b")))
    assert found.tolist() == [0.875, 0.875]  # 3.5 of 4 pairs


def test_it_is_scikit_learns_and_unknown_for_a_class_without_images():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 500)
    logits = generator.normal(size=(500, 4)) * 3
    found = auroc(predictions(logits, labels, tuple("abcd")))
    log_p = log_softmax(logits.astype(np.float32).astype(np.float64), axis=1)
    assert found[:3] == pytest.approx([roc_auc_score(labels == k, log_p[:, k]) for k in range(3)], abs=1e-9)
    assert np.isnan(found[3])
