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
from cifar_imbalance.methods.mixing import MIXING

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


CHANGES = [
    "model.drop_rate=0.2 model.drop_path_rate=0.1 model.resolution=0.2",  # noise by key, images resized
    *(f"mixing={name}" for name in MIXING),
    *(f"augmentation=[flip,{name}]" for name in STRONG if name != "cuda"),
    "augmentation=[flip,cuda] controller=cuda",
]


def ask(folder, question, *settings):
    answer = folder / f"{len(list(folder.iterdir()))}.pt"
    command = [sys.executable, str(PROBE), question, str(answer), *SETTINGS, *settings]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(answer, weights_only=True)


@pytest.mark.parametrize("changes", [CHANGES[:2], pytest.param(CHANGES, marks=pytest.mark.slow)], ids=["few", "all"])
def test_the_step_of_every_loss_mixing_and_augmentation_is_captured_whole(tmp_path, changes):
    assert all(name in SETTINGS[3] for name in OPERATORS if name not in STRONG)  # the others are in CHANGES
    found = ask(tmp_path, "captured", *(f"+change={change}" for change in changes))
    assert set(found) == {*(f"loss={name}" for name in LOSSES), "teacher", *changes}
    for what, (eager, captured) in found.items():
        assert captured == pytest.approx(eager, rel=1e-6), what
    assert len({round(eager, 4) for eager, _ in found.values()}) >= len(LOSSES)  # so that the losses differ


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_the_compiled_step_with_every_augmentation_gives_the_losses_of_the_eager_one(tmp_path, loss):
    of_loss = [f"loss={loss}", *(["model.cosine_scale=30"] if loss == "ldam" else [])]
    compiled = ask(tmp_path, "losses", *of_loss, "runtime.compile=true")
    assert compiled == pytest.approx(ask(tmp_path, "losses", *of_loss), rel=1e-4)


FORMS = """
import torch
from torch import nn
from cifar_imbalance.runtimes.convolutions import use_small_map_forms
model = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), nn.Conv2d(8, 16, 1))
use_small_map_forms(model, 256)
def backend(graph, inputs):
    print(*(node.target.__name__ for node in graph.graph.nodes if node.op == "call_function"))
    return graph
torch.compile(model, backend=backend, fullgraph=True)(torch.randn(2, 8, 3, 3))
"""


def test_convolutions_have_their_forms_in_a_compiled_step_too():
    """torch.compile takes torch.compiler.is_exporting() for true: a form that depended on it would be lost."""
    done = subprocess.run([sys.executable, "-c", FORMS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "linear" in done.stdout and "conv2d" not in done.stdout and "autograd_function" in done.stdout, done.stdout
