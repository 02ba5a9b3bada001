"""torch.compile captures the whole step as one graph (fullgraph=True rejects breaks) and computes what eager mode does.

In separate processes: TorchDynamo rejects functions that are wrapped by the tests' type checks.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cifar_imbalance.configuration.fields import OPERATORS, STRONG
from cifar_imbalance.methods.losses import LOSSES

PROBE = Path(__file__).with_name("probe.py")
SETTINGS = [
    "experiment=quickstart",
    "dataset.image_size=16",
    "runtime=cpu",
    "augmentation=[flip,rotation,shift,pad_crop,cutout,color_jitter]",
    "augmentation.color_jitter.contrast=[0.8,1.2]",
    "augmentation.color_jitter.saturation=[0.5,1.5]",
    "optimizer=sgd",
    "schedule=constant",
    "schedule.warmup_fraction=0",
    "schedule.max_lr=0.001",
]


def losses(folder, loss, *settings):
    answer = folder / f"{len(list(folder.iterdir()))}.pt"
    head = ["model.cosine_scale=30"] if loss == "ldam" else []
    command = [sys.executable, str(PROBE), "losses", str(answer), *SETTINGS, f"loss={loss}", *head, *settings]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(answer, weights_only=True)


@pytest.mark.parametrize(
    ("backend", "loss"),
    [("aot_eager", "focal"), *(pytest.param("inductor", loss, marks=pytest.mark.slow) for loss in LOSSES)],
)
def test_the_compiled_step_with_every_augmentation_gives_the_losses_of_the_eager_one(tmp_path, backend, loss):
    assert all(name in SETTINGS[3] for name in OPERATORS if name not in STRONG)  # which are no part of the step
    compiled = losses(tmp_path, loss, "runtime.compile=true", f"+backend={backend}")
    assert compiled == pytest.approx(losses(tmp_path, loss), rel=1e-4)
