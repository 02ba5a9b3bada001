"""The norms that XLA's partitioner can split are torch's: values, gradients and running statistics."""

import copy

import pytest
import torch
from torch import nn

from cifar_imbalance.runtimes.norms import SplittableNorms

NORMS = {
    "batch, maps": (nn.BatchNorm2d(6), (5, 6, 3, 4)),
    "batch, vectors": (nn.BatchNorm1d(6), (5, 6)),
    "batch, without parameters": (nn.BatchNorm2d(6, affine=False), (5, 6, 3, 4)),
    "batch, without statistics": (nn.BatchNorm2d(6, track_running_stats=False), (5, 6, 3, 4)),
    "layer": (nn.LayerNorm(6), (5, 4, 6)),
    "layer, two axes": (nn.LayerNorm((4, 6)), (5, 4, 6)),
    "layer, without bias": (nn.LayerNorm(6, bias=False), (5, 4, 6)),
    "group": (nn.GroupNorm(3, 6), (5, 6, 3, 4)),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_and_their_gradients_are_those_of_torch(name):
    torch.manual_seed(0)
    norm, shape = NORMS[name]
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    ours = copy.deepcopy(norm)
    for training in (True, True, False):
        for one in (norm, ours):
            one.train(training)
            one.zero_grad()
        x = (3 + 2 * torch.randn(shape)).requires_grad_()
        y = x.detach().clone().requires_grad_()
        weights = torch.randn(shape)  # of the outputs in a loss
        expected = norm(x)
        with SplittableNorms():
            found = ours(y)
        (weights * expected).sum().backward()
        (weights * found).sum().backward()
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(y.grad, x.grad)
        for one, other in zip(ours.parameters(), norm.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)
    torch.testing.assert_close(ours.state_dict(), norm.state_dict())


def test_a_batch_in_half_precision_stays_so_and_is_standardised_in_full():
    norm, x = nn.BatchNorm2d(6), 100 + torch.randn(64, 6, 3, 3)
    with SplittableNorms():
        found = norm(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert norm.running_mean.dtype == torch.float32
    torch.testing.assert_close(found.float().std(), torch.tensor(1.0), rtol=0.02, atol=0)
