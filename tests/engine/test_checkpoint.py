"""A checkpoint is complete or rejected."""

import os
import pickle

import pytest
import torch

from cifar_imbalance.engine import checkpoint
from cifar_imbalance.errors import UsageError

STATE = {
    "epoch": 3,
    "model": {"weight": torch.arange(6.0).reshape(2, 3)},
    "average": None,
    "best": None,
    "optimizer": {0: {"step": 1}},
    "controller": {},
    "class_values": None,
    "norm_limit": None,
    "model_name": "b0",
    "class_names": ["cat", "dog"],
    "train_images": [2, 1],
    "epochs_sha256": {},
}


def test_a_checkpoint_is_loaded_as_saved(tmp_path):
    checkpoint.save(tmp_path / "last.pt", STATE)
    state = checkpoint.load(tmp_path / "last.pt")
    assert torch.equal(state.pop("model")["weight"], STATE["model"]["weight"])
    assert state == {name: value for name, value in STATE.items() if name != "model"}


def test_a_copy_is_the_same_file_and_replaces_the_old_one(tmp_path):
    checkpoint.save(tmp_path / "last.pt", STATE)
    checkpoint.save(tmp_path / "best.pt", {"epoch": 1})
    checkpoint.copy(tmp_path / "last.pt", tmp_path / "best.pt")
    checkpoint.save(tmp_path / "last.pt", {**STATE, "epoch": 4})
    assert checkpoint.load(tmp_path / "best.pt")["epoch"] == 3
    assert sorted(os.listdir(tmp_path)) == ["best.pt", "last.pt"]


def test_a_second_copy_of_the_same_file_leaves_nothing_else(tmp_path):
    checkpoint.save(tmp_path / "last.pt", STATE)
    for _ in range(2):
        checkpoint.copy(tmp_path / "last.pt", tmp_path / "best.pt")
    assert sorted(os.listdir(tmp_path)) == ["best.pt", "last.pt"]


def test_a_changed_value_is_detected(tmp_path):
    file = tmp_path / "last.pt"
    checkpoint.save(file, STATE)
    content = bytearray(file.read_bytes())
    place = content.index(torch.tensor(5.0).numpy().tobytes())
    content[place + 3] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"damaged|complete"):
        checkpoint.load(file)


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_checkpoint_is_rejected(tmp_path, keep):
    checkpoint.save(tmp_path / "last.pt", STATE)
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:keep])
    with pytest.raises(UsageError, match="not a complete checkpoint"):
        checkpoint.load(tmp_path / "last.pt")


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    (tmp_path / "last.pt").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(UsageError, match="not a complete checkpoint"):
        checkpoint.load(tmp_path / "last.pt")
    assert not (tmp_path / "attacked").exists()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(UsageError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "best",
    [{}, {"epoch": 99, "value": 0.5, "loss": 1.0}, {"epoch": 2, "value": "x", "loss": 1.0}, {"epoch": 2, "value": 0.5}],
)
def test_a_best_epoch_that_cannot_be_is_rejected(best, tmp_path):
    checkpoint.save(tmp_path / "last.pt", {**STATE, "best": best})
    with pytest.raises(UsageError, match="its best is missing or something else"):
        checkpoint.load(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "state",
    [
        {},
        {0: {"step": torch.tensor(1.0)}},
        {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)}},
        {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2, 3, dtype=torch.float64)}},
        {0: {"step": torch.tensor(1.0), "exp_avg": "x"}},
        {0: None},
    ],
)
def test_an_optimizers_state_that_its_kernels_would_read_beyond_is_rejected(state):
    expected = {0: {"step": torch.tensor(0.0), "exp_avg": torch.zeros(2, 3)}}
    checkpoint.check_alike({0: {"step": torch.tensor(7.0), "exp_avg": torch.ones(2, 3)}}, expected)
    with pytest.raises(ValueError):
        checkpoint.check_alike(state, expected)
