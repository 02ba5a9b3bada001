"""Losses against their formulas: a value for each image, and their mean by class weights."""

import math

import pytest
import torch

from cifar_imbalance.configuration.fields import Focal, Loss
from cifar_imbalance.methods.losses import LOSSES, cross_entropy, focal, weighted_mean

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
LABELS = torch.tensor([0, 2])
CLASSES = {"counts": torch.tensor([8.0, 4.0, 2.0]), "weight": torch.ones(3)}
P = (math.e**2 / (math.e**2 + 2), 1 / (math.e + 2))  # of the labels


def test_cross_entropy_is_the_negative_log_probability_of_the_label():
    losses = cross_entropy(LOGITS, LABELS, CLASSES, Loss())
    assert losses.tolist() == pytest.approx([-math.log(p) for p in P], rel=1e-6)


def test_equal_logits_have_the_log_of_the_class_count_as_loss():
    losses = cross_entropy(torch.zeros(4, 100), torch.arange(4), {}, Loss())
    assert losses.tolist() == pytest.approx([math.log(100)] * 4, rel=1e-6)


def test_label_smoothing_is_shared_among_all_classes():
    targets = 0.7 * torch.eye(3)[LABELS] + 0.3 / 3
    expected = -(targets * LOGITS.log_softmax(1)).sum(1)
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS, CLASSES, Loss(label_smoothing=0.3)), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_multiplies_cross_entropy_by_a_power_of_the_missing_probability(gamma):
    losses = focal(LOGITS, LABELS, CLASSES, Loss(name="focal", focal=Focal(gamma=gamma)))
    assert losses.tolist() == pytest.approx([-((1 - p) ** gamma) * math.log(p) for p in P], rel=1e-5)


def test_focal_at_gamma_0_is_cross_entropy():
    smoothed = Loss(name="focal", label_smoothing=0.1, focal=Focal(gamma=0.0))
    torch.testing.assert_close(
        focal(LOGITS, LABELS, CLASSES, smoothed), cross_entropy(LOGITS, LABELS, CLASSES, smoothed)
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_a_gradient_where_the_label_is_certain(gamma):
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    focal(logits, torch.tensor([0]), CLASSES, Loss(name="focal", focal=Focal(gamma=gamma))).sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_a_value_for_each_image_and_a_gradient(name):
    logits = LOGITS.clone().requires_grad_()
    losses = LOSSES[name](logits, LABELS, CLASSES, Loss(name=name, label_smoothing=0.1))
    assert losses.shape == (2,)
    losses.sum().backward()
    assert logits.grad.isfinite().all() and (logits.grad.abs().sum(1) > 0).all()


def test_the_mean_of_a_batch_weights_each_image_by_its_class():
    losses = torch.tensor([1.0, 2.0, 6.0])
    labels = torch.tensor([0, 2, 2])
    classes = {"weight": torch.tensor([3.0, 9.0, 0.5])}
    assert weighted_mean(losses, labels, classes).item() == pytest.approx((3 + 1 + 3) / 4)


def test_weighted_cross_entropy_equals_torchs():
    torch.manual_seed(0)
    logits, labels, weight = torch.randn(64, 5), torch.arange(64) % 5, torch.rand(5)
    ours = weighted_mean(cross_entropy(logits, labels, {}, Loss()), labels, {"weight": weight})
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(logits, labels, weight=weight))
