"""Batch norms with fixed statistics, written out for XLA, are the same function with the same gradients."""

import copy
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from cifar_imbalance.runtimes.batch_norms import use_affine_forms


def network(norm, *, affine=True, training=False):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), norm(4, affine=affine), nn.Conv2d(4, 2, 1))
    module[1].running_mean.normal_()
    module[1].running_var.uniform_(0.5, 2)
    if affine:
        nn.init.normal_(module[1].weight)
        nn.init.normal_(module[1].bias)
    module[1].train(training)
    return module


def results(module, images):
    module(images).square().sum().backward()
    values = {"output": module(images), **{name: value.grad for name, value in module.named_parameters()}}
    return values | {name: value.clone() for name, value in module.named_buffers()}


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNormAct2d])
@pytest.mark.parametrize("affine", [True, False])
def test_the_written_out_form_is_the_same_function(norm, affine):
    images = torch.randn(5, 3, 8, 8)
    plain = network(norm, affine=affine)
    written_out = copy.deepcopy(plain)
    use_affine_forms(written_out)
    torch.testing.assert_close(results(written_out, images), results(plain, images))


def test_a_batch_norm_in_training_is_left_alone():
    images = torch.randn(5, 3, 8, 8)
    plain = network(nn.BatchNorm2d, training=True)
    left_alone = copy.deepcopy(plain)
    use_affine_forms(left_alone)
    torch.testing.assert_close(results(left_alone, images), results(plain, images), rtol=0, atol=0)


@pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None, reason="needs torch_xla")
def test_xla_has_the_gradients_of_frozen_batch_norms():
    code = """
import torch
from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.runtimes.xla import XlaRuntime
from runtimes.test_batch_norms import nn, network, results
runtime = XlaRuntime("xla", Runtime(name="xla"))
images = torch.arange(5 * 3 * 8 * 8).reshape(5, 3, 8, 8).sin()
on_device = runtime.place_model(network(nn.BatchNorm2d))
found = {name: runtime.to_host(value) for name, value in results(on_device, runtime.place(images)).items()}
torch.testing.assert_close(found, results(network(nn.BatchNorm2d), images), rtol=1e-4, atol=1e-4)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
