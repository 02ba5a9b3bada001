"""Losses against their formulas: a value for each image, and their mean by class weights."""

import math

import pytest
import torch

from cifar_imbalance.configuration.fields import Focal, Ldam, LogitAdjustment, Loss
from cifar_imbalance.methods.losses import (
    LOSSES,
    balanced_softmax,
    cross_entropy,
    focal,
    gml,
    ldam,
    logit_adjustment,
    weighted_mean,
)

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


def test_ldam_lowers_the_labels_logit_by_a_margin_of_n_to_the_minus_a_quarter():
    """Margins C n^(-1/4), C such that the largest is 15 = 30 * 0.5: for 16, 81 and 256 images 15, 10 and 7.5."""
    classes = {"counts": torch.tensor([16.0, 81.0, 256.0])}
    lowered = torch.tensor([[2.0 - 15.0, 0.0, 0.0], [0.0, 1.0, -7.5]])
    losses = ldam(LOGITS, LABELS, classes, Loss(name="ldam"))
    torch.testing.assert_close(losses, cross_entropy(lowered, LABELS, {}, Loss()))
    middle = ldam(LOGITS, torch.tensor([1, 1]), classes, Loss(name="ldam", ldam=Ldam(max_margin=3.0)))
    expected = cross_entropy(torch.tensor([[2.0, -2.0, 0.0], [0.0, -1.0, 0.0]]), torch.tensor([1, 1]), {}, Loss())
    torch.testing.assert_close(middle, expected)


def test_ldam_equals_the_papers_form_on_cosines():
    """CE(s (cos - margin)) with margins of 0.5 at most and s = 30 (Cao 2019, eq. 13)."""
    cosines, counts = torch.tensor([[0.9, -0.2, 0.1]]), torch.tensor([100.0, 10.0, 5.0])
    margins = counts**-0.25 * 0.5 / (5.0**-0.25)
    expected = torch.nn.functional.cross_entropy(30 * (cosines - torch.eye(3)[1] * margins), torch.tensor([1]))
    ours = ldam(30 * cosines, torch.tensor([1]), {"counts": counts}, Loss(name="ldam"))
    torch.testing.assert_close(ours[0], expected)


def test_balanced_softmax_weights_each_exponential_by_the_images_of_its_class():
    """p_y = n_y e^(z_y) / sum_k n_k e^(z_k) (Ren 2020, eq. 3)."""
    shares = CLASSES["counts"] * LOGITS.exp()
    expected = -(shares / shares.sum(1, keepdim=True)).gather(1, LABELS[:, None]).squeeze(1).log()
    torch.testing.assert_close(balanced_softmax(LOGITS, LABELS, CLASSES, Loss()), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_logit_adjustment_is_cross_entropy_at_tau_0_and_balanced_softmax_at_tau_1(smoothing):
    def adjusted(tau):
        settings = Loss(label_smoothing=smoothing, logit_adjustment=LogitAdjustment(tau=tau))
        return logit_adjustment(LOGITS, LABELS, CLASSES, settings)

    plain = Loss(label_smoothing=smoothing)
    torch.testing.assert_close(adjusted(0.0), cross_entropy(LOGITS, LABELS, CLASSES, plain))
    torch.testing.assert_close(adjusted(1.0), balanced_softmax(LOGITS, LABELS, CLASSES, plain))
    prior = CLASSES["counts"] / CLASSES["counts"].sum()
    if not smoothing:
        torch.testing.assert_close(adjusted(2.0), cross_entropy(LOGITS + 2 * prior.log(), LABELS, CLASSES, plain))


def test_smoothing_of_adjusted_logits_asks_for_equal_logits():
    """With smoothing alone (almost), the gradient at equal logits is 0 for every class, however rare."""
    logits = torch.zeros(1, 3, requires_grad=True)
    balanced_softmax(logits, torch.tensor([0]), CLASSES, Loss(label_smoothing=1 - 1e-7)).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 3), atol=1e-6, rtol=0)


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
    weight = torch.tensor([3.0, 9.0, 0.5])[labels]
    assert weighted_mean([(losses, weight)]).item() == pytest.approx((3 + 1 + 3) / 4)


def test_parts_of_a_mean_are_those_of_one():
    losses, weight = torch.rand(6), torch.rand(6)
    parts = [(losses[:3], weight[:3]), (losses[3:], weight[3:])]
    torch.testing.assert_close(weighted_mean(parts), weighted_mean([(losses, weight)]))
    assert weighted_mean([(losses, torch.zeros(6))]) == 0


def test_weighted_cross_entropy_equals_torchs():
    torch.manual_seed(0)
    logits, labels, weight = torch.randn(64, 5), torch.arange(64) % 5, torch.rand(5)
    ours = weighted_mean([(cross_entropy(logits, labels, {}, Loss()), weight[labels])])
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(logits, labels, weight=weight))


def test_gml_is_the_mean_over_the_classes_present_of_minus_the_log_of_their_mean_probability():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(12, 5, generator=generator), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 3, 3, 3, 4])
    p = logits.softmax(1)
    expected = [-math.log(p[labels == k, k].mean()) for k in (0, 1, 3, 4)]
    losses = gml(logits, labels, {}, Loss(name="gml"))
    assert losses.mean().item() == pytest.approx(sum(expected) / 4, rel=1e-6)
    assert losses[labels == 1].tolist() == pytest.approx([expected[1] * 12 / (4 * 3)] * 3, rel=1e-6)


def test_gml_with_one_image_of_each_class_is_cross_entropy():
    logits, labels = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    torch.testing.assert_close(gml(logits, labels, {}, Loss(name="gml")), cross_entropy(logits, labels, {}, Loss()))


def test_gml_has_a_gradient_where_a_class_is_certainly_wrong():
    logits = torch.tensor([[-500.0, 0.0], [-500.0, 0.0], [0.0, 0.0]], requires_grad=True)
    gml(logits, torch.tensor([0, 0, 1]), {}, Loss(name="gml")).mean().backward()
    assert logits.grad.isfinite().all() and logits.grad[0, 0] < 0
