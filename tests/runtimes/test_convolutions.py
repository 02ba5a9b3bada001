"""The small-map form of a depthwise convolution is the plain one, in value and gradient."""

import copy
from itertools import product

import pytest
import timm
import torch
from torch import nn

from cifar_imbalance.runtimes.convolutions import use_small_map_forms

CASES = [
    (kernel, size, padding)
    for kernel, size, padding in product((3, 5, 7), ((1, 1), (1, 3), (2, 2), (4, 4), (5, 5)), range(4))
    if min(size) + 2 * padding >= kernel
]


@pytest.mark.parametrize(("kernel", "size", "padding"), CASES)
def test_values_and_gradients_are_the_plain_convolutions_in_float64(kernel, size, padding):
    plain = nn.Conv2d(6, 6, kernel, padding=padding, groups=6, bias=False, dtype=torch.float64)
    small = copy.deepcopy(plain)
    use_small_map_forms(small)
    images = [torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)]
    images.append(images[0].detach().clone().requires_grad_())
    results = [plain(images[0]), small(images[1])]
    assert torch.equal(*results)
    direction = torch.randn_like(results[0])
    for result in results:
        result.backward(direction)
    torch.testing.assert_close(images[0].grad, images[1].grad)
    torch.testing.assert_close(plain.weight.grad, small.weight.grad)


def test_logits_names_and_parameters_of_a_model_stay():
    plain = timm.create_model("tf_efficientnet_lite0", num_classes=10).eval()
    small = copy.deepcopy(plain)
    use_small_map_forms(small)
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(plain(images), small(images))
    assert plain.state_dict().keys() == small.state_dict().keys()


def test_a_copy_of_a_model_computes_with_its_own_weights():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False))
    use_small_map_forms(model)
    other = copy.deepcopy(model)
    nn.init.zeros_(other[0].weight)
    images = torch.randn(2, 4, 2, 2)
    assert torch.count_nonzero(other(images)) == 0
    assert torch.count_nonzero(model(images)) > 0
