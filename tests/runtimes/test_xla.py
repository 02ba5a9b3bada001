"""XLA computes what native PyTorch computes, in one graph, on any number of devices.

Every measurement runs in a separate process (see probe.py). XLA's own CPU device substitutes for TPU cores.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from runtimes.compare import relative

from cifar_imbalance.evidence.predictions import Predictions

PROBE = Path(__file__).with_name("probe.py")
SMALL = [
    "experiment=quickstart",
    "dataset.image_size=16",
    "training.eval_batch_size=100",
]
# a small rate: less chaos, see compare.py
PLAIN = ["optimizer=sgd", "schedule=constant", "schedule.warmup_fraction=0", "schedule.max_lr=0.001"]
EXACT = "augmentation=[flip,shift,cutout]"  # moves and fills pixels: no arithmetic that could round differently

# Most of the time of these tests would go to LLVM's optimiser, which they do not test (compare.py runs with it).
ENVIRONMENT = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch_xla") is None, reason="torch_xla is not installed: pip install -e '.[xla]'"
)


def ask(folder, question, *overrides):
    answer = folder / f"{question}_{len(list(folder.iterdir()))}.pt"
    command = [sys.executable, str(PROBE), question, str(answer), *overrides]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-2000:]
    return answer


def run_program(folder, program, *words):
    command = [sys.executable, str(PROBE.parents[2] / program), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-2000:]


def answer_of(*arguments):
    return torch.load(ask(*arguments), weights_only=True)


def test_every_batch_of_an_epoch_is_the_same_on_every_runtime(tmp_path):
    native = answer_of(tmp_path, "batches", "runtime=cpu", EXACT, *SMALL)
    assert native == answer_of(tmp_path, "batches", "runtime=xla", "runtime.devices=2", EXACT, *SMALL)
    assert len(set(native)) == len(native) == 29


def test_from_each_native_state_loss_and_gradients_agree(tmp_path):
    words = [EXACT, *SMALL, *PLAIN, "model.drop_rate=0.3"]  # dropout too: by key, not by the device's generator
    file = ask(tmp_path, "states", "runtime=cpu", *words)
    native = torch.load(file, weights_only=True)
    xla = answer_of(tmp_path, "forced", "runtime=xla", *words, f"+states={file}")
    assert xla["losses"] == pytest.approx(native["losses"], rel=1e-4)
    assert max(map(relative, native["gradients"], xla["gradients"])) < 1e-4


def test_two_devices_give_the_same_losses_as_one(tmp_path):
    one = answer_of(tmp_path, "losses", "runtime=xla", EXACT, *SMALL, *PLAIN)
    two = answer_of(tmp_path, "losses", "runtime=xla", "runtime.devices=2", EXACT, *SMALL, *PLAIN)
    assert two == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize("devices", ["1", "2"])
def test_an_optimizer_traced_once_steps_as_torchs_own_bit_for_bit_in_one_graph(devices):
    command = [sys.executable, str(PROBE.with_name("traced_optimizers.py")), devices]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-2000:]
    four_steps_one_graph = [True, 4, 1]
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(("adam", "adamw", "sgd"), four_steps_one_graph)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [["runtime=cpu"], ["runtime=xla", "runtime.devices=2"]], ids=["native", "xla"])
def test_networks_that_are_one_step_have_the_losses_that_they_have_alone(runtime, tmp_path):
    words = ["model.drop_rate=0.2"]
    found = answer_of(tmp_path, "stacked", *runtime, EXACT, *SMALL, *PLAIN, *words)
    assert found["together"][0] != pytest.approx(found["together"][1], rel=1e-2)
    for together, alone in zip(found["together"], found["alone"], strict=True):
        assert together == pytest.approx(alone, rel=1e-3)
    first, *epochs = found["compiled"]
    assert epochs == ([0, 0] if runtime[0] == "runtime=cpu" else [first + 1] * 2)


@pytest.mark.slow
def test_train_and_evaluate_give_the_same_results_on_two_devices_and_on_native(tmp_path):
    short = ["training.epochs=1", "training.batch_size=64", "schedule.warmup_fraction=0", "hydra.run.dir=run"]
    run_program(tmp_path, "train.py", "runtime=xla", "runtime.devices=2", *short, *SMALL, "training.ema_decay=0.9")
    run_program(tmp_path, "evaluate.py", "ckpt=run", "hydra.run.dir=again")
    run_program(tmp_path, "evaluate.py", "ckpt=run", "hydra.run.dir=native", "runtime=cpu")
    logits = {
        name: Predictions.load(tmp_path / name / "predictions" / "test.npz").logits
        for name in ("run", "again", "native")
    }
    assert np.array_equal(logits["again"], logits["run"])
    np.testing.assert_allclose(logits["native"], logits["run"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(["optimizer=sgd", "schedule=cosine", "schedule.warmup_fraction=0.34"], marks=pytest.mark.slow),
        pytest.param(
            [
                "optimizer=sgd",
                "optimizer.sgd.nesterov=true",
                "schedule=step",
                "schedule.step.milestones=[0.34]",
                "schedule.max_lr=0.01",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["optimizer=adam", "schedule=constant", "training.ema_decay=0.9", "training.clip_norm=1"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [  # with the quickstart's adamw and cosine
                "schedule.warmup_fraction=0.17",
                "augmentation=paper",
                "loss=focal",
                "class_weights=effective_number",
                "sampler=class_balanced",
                "+controller=moving",
            ],
            marks=pytest.mark.slow,
        ),
        [  # weights switched on and mixing off between the epochs
            "loss=ldam",
            "model.cosine_scale=30",
            "class_weights=inverse",
            "class_weights.defer=0.34",
            "mixing=cmo",
            "mixing.until=0.67",
            "augmentation=[flip,auto_augment,cutout]",
        ],
    ],
    ids=[
        "sgd",
        "nesterov-step",
        "adam-ema-clip",
        "adamw-paper-focal-weights-that-move",
        "ldam-deferred-weights-cmo-until",
    ],
)
def test_three_epochs_compile_one_graph_for_training_and_one_for_evaluation(tmp_path, settings):
    short = ["experiment=quickstart", "training.epochs=3", "training.batch_size=64", "training.eval_batch_size=100"]
    settings = ["schedule.warmup_fraction=0", *settings]
    seen = answer_of(tmp_path, "graphs", "runtime=xla", "model.name=test_resnet", *short, *settings)
    assert seen["compiled"] == [0, 1, 2, 2, 2, 2, 2]  # before, then after each epoch's training and evaluation
    assert seen["aten_grown_within_an_epoch"] == []
