"""The norms that XLA is given are torch's: values, gradients and running statistics."""

import copy
import importlib.util
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

from cifar_imbalance.runtimes.xla_norms import XlaNorms, batch_norm

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
def test_xla_norms_and_their_gradients_are_those_of_torch(name):
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
        with XlaNorms(devices=2):
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
    with XlaNorms(devices=2):
        found = norm(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert norm.running_mean.dtype == torch.float32
    torch.testing.assert_close(found.float().std(), torch.tensor(1.0), rtol=0.02, atol=0)


def test_of_a_stack_each_member_has_its_own_norm_and_nothing_is_looped_over():
    """torch.func.vmap warns of an operator that it can only loop over, which pytest makes an error."""
    norm, x = nn.BatchNorm2d(6), torch.randn(3, 5, 6, 4, 4)
    alone = [copy.deepcopy(norm) for _ in x]
    means, variances = norm.running_mean.expand(3, 6).clone(), norm.running_var.expand(3, 6).clone()
    stacked = torch.func.vmap(partial(batch_norm, training=True))(x, means, variances)
    for member, batch in enumerate(x):
        torch.testing.assert_close(stacked[member], alone[member](batch))
        torch.testing.assert_close(means[member], alone[member].running_mean)
        torch.testing.assert_close(variances[member], alone[member].running_var)


def test_on_one_device_only_batch_norms_with_fixed_statistics_are_written_out():
    norm, x = nn.BatchNorm2d(6), torch.randn(5, 6, 3, 4, requires_grad=True)
    for module, training, written_out in ((norm, False, True), (norm, True, False), (nn.GroupNorm(3, 6), True, False)):
        module.train(training)
        with XlaNorms(devices=1):
            name = module(x).grad_fn.name()
        assert ("Norm" not in name) == written_out


@pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None, reason="needs torch_xla")
def test_xla_has_the_gradients_of_frozen_batch_norms():
    code = """
import torch
from torch import nn
from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.runtimes.xla import XlaRuntime
runtime = XlaRuntime("xla", Runtime(name="xla"))
def gradients(place):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    module[1].running_mean.normal_()
    module[1].eval()
    images = torch.randn(5, 3, 8, 8)
    module._apply(place)
    with runtime.autocast():
        module(place(images)).square().sum().backward()
    return [runtime.to_host(value.grad) for value in module.parameters()]
torch.testing.assert_close(gradients(runtime.place), gradients(lambda tensor: tensor), rtol=1e-4, atol=1e-4)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
