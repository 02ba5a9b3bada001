"""A run that is killed and resumed ends bit-identical to an uninterrupted one."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_imbalance.engine import checkpoint
from cifar_imbalance.evidence.predictions import Predictions

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
SETTINGS = [
    "experiment=quickstart",
    "model.drop_rate=0.3",
    "model.drop_path_rate=0.1",
    "augmentation=[flip,shift,cutout,color_jitter]",
    "schedule.warmup_fraction=0.34",
    "training.epochs=3",
    "training.ema_decay=0.9",
    "training.clip_norm=5",
    "runtime=cpu",
    "runtime.threads=1",
]
TIMES = {"images_per_second", "seconds", "first_step_seconds", "validation_seconds"}


def start(folder, *settings):
    command = [sys.executable, str(TRAIN), f"hydra.run.dir={folder}", *SETTINGS, *settings]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, errors = process.communicate(timeout=1800)
    assert process.returncode == 0, errors


def kill_in_second_epoch(process, folder):
    while not (folder / "checkpoints" / "last.pt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def history(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, dict):
            assert_same(value, other[name])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, other[name]), name
        elif name != "metrics.jsonl":  # the digest of its lines, which have times
            assert value == other[name], name


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(["model.name=test_efficientnet", "dataset.image_size=16"], id="tiny"),
        pytest.param(["model=lite0"], id="lite0", marks=pytest.mark.slow),
        pytest.param(["model=b0"], id="b0", marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_second_epoch_and_resumed_equals_uninterrupted(tmp_path, model):
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    finish(start(whole, *model))
    process = start(interrupted, *model)
    kill_in_second_epoch(process, interrupted)
    assert 1 <= len(history(interrupted)) < 3
    finish(subprocess.Popen([sys.executable, str(TRAIN), f"resume={interrupted}"], stderr=subprocess.PIPE, text=True))
    for name in ("last.pt", "best.pt"):
        assert_same(checkpoint.load(whole / "checkpoints" / name), checkpoint.load(interrupted / "checkpoints" / name))
    for name in ("test.npz", "validation.npz"):
        logits = [Predictions.load(folder / "predictions" / name).logits for folder in (whole, interrupted)]
        assert np.array_equal(*logits)
    assert history(interrupted) == history(whole)
