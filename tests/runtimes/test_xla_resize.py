"""The matrix products by which XLA resizes images, against torch's own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import interpolate

from cifar_imbalance.runtimes.xla_resize import resized


@pytest.mark.parametrize("size", [(456, 456), (48, 31), (7, 64), (1, 1), (32, 20)])
def test_images_are_those_of_interpolate(size):
    images = 255 * torch.rand(2, 3, 32, 20, generator=torch.Generator().manual_seed(0))
    expected = interpolate(images, size, mode="bilinear", align_corners=False)
    assert torch.allclose(resized(images, size), expected, atol=1e-3)  # of 255


@pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None, reason="needs torch_xla")
def test_the_program_is_the_same_for_a_tpu():
    """torch_xla looks at PJRT_DEVICE for its lowering: of interpolate it has two, one of which runs on a TPU alone."""
    code = """
import os
import torch, torch_xla, torch_xla.runtime
from cifar_imbalance.runtimes.xla_resize import resized
torch_xla.runtime.use_spmd()
images = torch.rand(4, 3, 32, 32).to(torch_xla.device())
torch_xla.sync()
for name in ("CPU", "TPU"):
    os.environ["PJRT_DEVICE"] = name
    own = resized(images, (48, 48))
    torchs = torch.nn.functional.interpolate(images, (48, 48), mode="bilinear", align_corners=False)
    for result in (own, torchs):
        text = torch_xla._XLAC._get_xla_tensors_hlo([result])
        print(" dot(" in text, " gather(" in text, " custom-call(" in text)
"""
    environment = {**os.environ, "PJRT_DEVICE": "CPU", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    own_on_cpu, torchs_on_cpu, own_on_tpu, torchs_on_tpu = done.stdout.splitlines()
    assert own_on_cpu == own_on_tpu == "True False False"
    assert torchs_on_cpu != torchs_on_tpu == "False False True"
