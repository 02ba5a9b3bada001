"""Batches prepared on the host ahead of their step: what they are depends on the plan alone."""

import json

import numpy as np
import pytest
import torch

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.fields import Augmentation, AutoAugment, Mixing
from cifar_imbalance.engine.epoch import plan_epoch
from cifar_imbalance.engine.host_stage import HostStage
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.runs.folder import RunFolder


@pytest.fixture
def planned(tiny_run):
    config = RunFolder(tiny_run).read_config()
    config.training.batch_size, config.mixing = 16, Mixing(name="cmo")
    policy = Policy(Augmentation(auto_augment=AutoAugment()), height=16, width=16)
    labels = np.arange(200) % 10
    counts = np.bincount(labels)
    classes = Classes(counts, np.ones(10), np.zeros(10, dtype=np.int64))
    return policy, plan_epoch(config, 0, labels=labels, classes=classes, policy=policy)


def test_a_batch_is_that_of_its_position_in_whatever_order_they_are_asked_for(planned):
    policy, plan = planned
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8)
    stage = HostStage(images, policy, "cmo")
    threads = torch.get_num_threads()
    stage.begin_epoch(plan)
    found = {position: stage.batch(position) for position in (3, 0, 11, 5)}
    stage.begin_epoch(plan)
    for position in range(len(plan)):
        batch = stage.batch(position)
        draws = {name: values[position] for name, values in plan.draws.items()}
        expected = policy.prepare(images[plan.indices[position]], draws)
        assert np.array_equal(batch["host.images"].numpy(), expected)
        if position in found:
            assert torch.equal(found[position]["mixing.host.images"], batch["mixing.host.images"])
    assert torch.get_num_threads() == threads


def test_partners_are_augmented_by_draws_of_their_own(planned):
    policy, plan = planned
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8)
    stage = HostStage(images, policy, "cmo")
    stage.begin_epoch(plan)
    draws = {name: values[0] for name, values in plan.draws.items()}
    own = {name.removeprefix("mixing."): values for name, values in draws.items() if name.startswith("mixing.")}
    expected = policy.prepare(images[draws["mixing.partner"]], own)
    assert np.array_equal(stage.batch(0)["mixing.host.images"].numpy(), expected)
    assert not np.array_equal(own["auto_augment.numbers"], draws["auto_augment.numbers"])


@pytest.mark.parametrize("mixing", ["none", "cmo"])
def test_a_run_with_a_host_stage_is_repeated_bit_for_bit(typed, tmp_path, tiny_words, mixing):
    words = [*tiny_words, "augmentation=[flip,auto_augment,cutout]", f"mixing={mixing}"]
    for name in ("a", "b"):
        answer = typed(tmp_path, "train", *words, f"hydra.run.dir={name}")
        assert answer.code == 0, answer.err
    losses = [
        [json.loads(line)["train_loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("a", "b")
    ]
    assert losses[0] == losses[1]
