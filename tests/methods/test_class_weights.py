"""Class weights against their formulas."""

import numpy as np
import pytest

from cifar_imbalance.configuration.fields import ClassWeights, EffectiveNumber
from cifar_imbalance.methods.class_weights import CLASS_WEIGHTS, class_weights

COUNTS = np.array([500, 50, 5])


def effective(beta):
    return ClassWeights(name="effective_number", effective_number=EffectiveNumber(beta=beta))


def test_none_weights_all_classes_equally():
    assert class_weights(COUNTS, ClassWeights()).tolist() == [1.0, 1.0, 1.0]


def test_effective_numbers_of_cui_2019():
    """E_n = (1 - beta^n) / (1 - beta); at beta 0.9 it is 10, 9.948 and 4.0951 for 500, 50 and 5 images."""
    inverse = 1 / np.array([10.0, 9.948462, 4.0951])
    assert class_weights(COUNTS, effective(0.9)) == pytest.approx(inverse * 3 / inverse.sum(), rel=1e-6)


def test_beta_0_gives_equal_weights_and_beta_near_1_inverse_counts():
    assert class_weights(COUNTS, effective(0.0)) == pytest.approx([1.0, 1.0, 1.0])
    inverse = 1 / COUNTS
    assert class_weights(COUNTS, effective(1 - 1e-9)) == pytest.approx(inverse * 3 / inverse.sum(), rel=1e-5)


def test_inverse_counts_and_their_square_roots():
    inverse = class_weights(np.array([1, 4]), ClassWeights(name="inverse"))
    assert inverse == pytest.approx([1.6, 0.4])
    assert class_weights(np.array([1, 4]), ClassWeights(name="square_root_inverse")) == pytest.approx([4 / 3, 2 / 3])


@pytest.mark.parametrize("name", CLASS_WEIGHTS)
def test_weights_have_mean_1_and_a_class_without_images_has_weight_0(name):
    weights = class_weights(np.array([9, 0, 3, 1]), ClassWeights(name=name))
    assert weights[1] == 0
    assert weights.sum() == pytest.approx(3)
    assert (weights[[0, 2, 3]] > 0).all() and np.isfinite(weights).all()
