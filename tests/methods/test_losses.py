"""Losses against their formulas."""

import math

import pytest
import torch

from cifar_imbalance.methods.losses import LOSSES, cross_entropy

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
LABELS = torch.tensor([0, 2])


def test_cross_entropy_is_the_mean_of_minus_log_probability():
    expected = (-math.log(math.e**2 / (math.e**2 + 2)) - math.log(1 / (math.e + 2))) / 2
    assert cross_entropy(LOGITS, LABELS, label_smoothing=0.0).item() == pytest.approx(expected, rel=1e-6)


def test_equal_logits_cost_the_logarithm_of_the_class_count():
    loss = cross_entropy(torch.zeros(4, 100), torch.arange(4), label_smoothing=0.0)
    assert loss.item() == pytest.approx(math.log(100), rel=1e-6)


def test_label_smoothing_shares_its_part_among_all_classes():
    log_probabilities = LOGITS.log_softmax(1)
    targets = 0.7 * torch.eye(3)[LABELS] + 0.3 / 3
    expected = -(targets * log_probabilities).sum(1).mean()
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS, label_smoothing=0.3), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_a_scalar_with_a_gradient(name):
    logits = LOGITS.clone().requires_grad_()
    loss = LOSSES[name](logits, LABELS, label_smoothing=0.1)
    assert loss.shape == ()
    loss.backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0
