"""In what two runs differ: whatever changes results, by the name of its field."""

from dataclasses import replace

import pytest

from cifar_imbalance.configuration.differences import differing_fields
from cifar_imbalance.configuration.fields import Flip
from cifar_imbalance.runs.folder import RunFolder


@pytest.fixture
def one(tiny_run):
    return RunFolder(tiny_run).read_config()


def test_equal_configurations_do_not_differ(one):
    assert differing_fields(one, one) == {}


def test_every_field_that_changes_results_is_compared(one):
    other = replace(one, seed=1, training=replace(one.training, epochs=3), loss=replace(one.loss, name="focal"))
    assert differing_fields(one, other) == {
        "seed": (0, 1),
        "loss.name": ("cross_entropy", "focal"),
        "training.epochs": (one.training.epochs, 3),
    }


def test_a_block_that_only_one_has_is_on_or_off(one):
    other = replace(one, augmentation=replace(one.augmentation, flip=Flip()))
    assert differing_fields(one, other) == {"augmentation.flip": ("off", "on")}
    assert differing_fields(other, one) == {"augmentation.flip": ("on", "off")}


def test_where_a_run_executes_and_its_name_do_not_count_but_precision_does(one):
    runtime = replace(one.runtime, threads=1, precision="bfloat16")
    other = replace(one, runtime=runtime, experiment="mine", dataset=replace(one.dataset, root="elsewhere"))
    assert differing_fields(one, other) == {"runtime.precision": ("float32", "bfloat16")}
