"""The plan of an epoch depends only on the configuration, the labels and the classes."""

from dataclasses import replace

import numpy as np
import pytest

from cifar_imbalance import keys
from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.fields import FourPhases, Schedule
from cifar_imbalance.engine.epoch import plan_epoch
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.methods.schedules import learning_rates

LABELS = np.arange(100) % 4
CLASSES = Classes(np.bincount(LABELS), np.ones(4), np.zeros(4, dtype=np.int64))


@pytest.fixture
def plan(tiny):
    def of(epoch, classes=CLASSES, **groups):
        config = tiny(**{"training": {"batch_size": 10, "epochs": 3}, **groups})
        policy = Policy(config.augmentation, height=16, width=16)
        return plan_epoch(config, epoch, labels=LABELS, classes=classes, policy=policy)

    return of


def test_a_plan_has_indices_draws_rates_and_noise_seeds_for_each_step(plan):
    found = plan(1)
    assert (len(found), found.batch_size) == (10, 10)
    assert found.indices.shape == found.draws["flip.flipped"].shape == (10, 10)
    expected = learning_rates(Schedule(name="constant", max_lr=0.003), epoch=1, steps_per_epoch=10, epochs=3)
    assert np.array_equal(found.rates, expected)
    assert found.noise_seeds == [keys.integer(0, "noise", 1, step) for step in range(10)]
    assert found.classes is CLASSES


def test_the_same_arguments_give_the_same_plan(plan):
    one, again, other = plan(1), plan(1), plan(2)
    assert np.array_equal(one.indices, again.indices) and not np.array_equal(one.indices, other.indices)
    assert np.array_equal(one.draws["flip.flipped"], again.draws["flip.flipped"])
    assert one.noise_seeds == again.noise_seeds != other.noise_seeds


def test_class_weights_change_nothing_else_in_the_plan(plan):
    one, weighted = plan(1), plan(1, replace(CLASSES, weight=np.arange(4.0)))
    assert np.array_equal(one.indices, weighted.indices)
    assert weighted.classes.on_host()["weight"].tolist() == [0, 1, 2, 3]


def test_only_the_head_is_trained_in_burn_in(plan):
    phases = FourPhases(burnin_epochs=1, warmup_epochs=1, flat_epochs=0, cooldown_epochs=1)
    schedule = Schedule(name="four_phases", four_phases=phases)
    assert [plan(epoch, schedule=schedule).head_only for epoch in range(3)] == [True, False, False]


def test_the_first_steps_of_a_plan_are_those_of_the_full_plan(plan):
    whole, first = plan(0), plan(0).first(3)
    assert len(first) == 3
    assert np.array_equal(first.indices, whole.indices[:3])
    assert np.array_equal(first.draws["flip.flipped"], whole.draws["flip.flipped"][:3])
    assert first.noise_seeds == whole.noise_seeds[:3] and np.array_equal(first.rates, whole.rates[:3])
