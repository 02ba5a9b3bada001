"""What a controller receives and stores, in the loop and in its checkpoint."""

import json

import numpy as np
import pytest
import torch
from controllers import Idle, Moving

from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.experiment import run_experiment
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.methods.controllers import CONTROLLERS


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    """A run with a controller of the tests: its folder, what the controller observed, the weights of each plan."""

    def of(kind, name, **groups):
        observed, planned = [], []

        class Watched(kind):
            def observe(self, metrics):
                observed.append(metrics)
                super().observe(metrics)

            def classes(self):
                planned.append(super().classes().weight)
                return super().classes()

        monkeypatch.setitem(CONTROLLERS, "constant", Watched)
        run_experiment(tiny(training={"epochs": 3}, **groups), tmp_path / name, [])
        return tmp_path / name, observed, planned

    return of


def logits(folder):
    return Predictions.load(folder / "predictions" / "test.npz").logits


def test_a_controller_that_does_nothing_changes_nothing(run, tiny, tmp_path):
    idle, observed, _ = run(Idle, "idle")
    CONTROLLERS["constant"] = CONTROLLERS["constant"].__mro__[-2]  # the package's own, until the fixture ends
    run_experiment(tiny(training={"epochs": 3}), tmp_path / "plain", [])
    assert np.array_equal(logits(idle), logits(tmp_path / "plain"))
    assert len(observed) == 3


def test_it_observes_the_validation_metrics_and_sets_the_next_epochs_weights(run):
    folder, observed, planned = run(Moving, "moving")
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert observed[-1].macro(observed[-1].f1) == last["validation_macro_f1"]
    misses = [1 - metrics.recall for metrics in observed]
    assert planned[0].tolist() == [1.0] * 10
    assert planned[1].tolist() == pytest.approx((1 + misses[0]).tolist())
    assert planned[2].tolist() == pytest.approx((1 + (misses[0] + misses[1]) / 2).tolist())


def test_changed_weights_reach_the_step(run):
    assert not np.array_equal(logits(run(Moving, "moving")[0]), logits(run(Idle, "idle")[0]))


def test_a_resumed_run_restores_its_controller(run, tiny, tmp_path, monkeypatch):
    whole, _, planned = run(Moving, "whole")
    train_epoch = Loop.train_epoch

    def killed(loop, plan, live):
        if plan.epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(loop, plan, live)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Loop, "train_epoch", killed)
        run(Moving, "interrupted")
    state = checkpoint.load(tmp_path / "interrupted" / "checkpoints" / "last.pt")
    assert state["controller"]["epochs"] == state["epoch"] == 2
    folder, _, resumed = run(Moving, "interrupted", resume=str(tmp_path / "interrupted"))
    assert resumed[0].tolist() == planned[2].tolist()
    assert np.array_equal(logits(folder), logits(whole))
    one, other = (checkpoint.load(path / "checkpoints" / "last.pt") for path in (whole, folder))
    assert one["controller"] == other["controller"]
    assert all(torch.equal(tensor, other["model"][name]) for name, tensor in one["model"].items())
