"""The names that the configuration allows are those that the code implements."""

import pytest

from cifar_imbalance.augment.policy import OPERATORS
from cifar_imbalance.configuration.fields import EvaluateConfig, TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.schema import rules
from cifar_imbalance.data.image_sets import IMAGE_SETS
from cifar_imbalance.evidence.adjustment import ADJUSTMENTS
from cifar_imbalance.methods.class_weights import CLASS_WEIGHTS
from cifar_imbalance.methods.controllers import CONTROLLERS
from cifar_imbalance.methods.losses import LOSSES
from cifar_imbalance.methods.mixing import MIXING
from cifar_imbalance.methods.optimizers import OPTIMIZERS
from cifar_imbalance.methods.samplers import SAMPLERS
from cifar_imbalance.methods.schedules import SCHEDULES

TABLES = {
    "dataset": IMAGE_SETS,
    "loss": LOSSES,
    "class_weights": CLASS_WEIGHTS,
    "sampler": SAMPLERS,
    "mixing": MIXING,
    "controller": CONTROLLERS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}


@pytest.mark.parametrize("group", TABLES)
def test_choices_tables_and_yaml_files_correspond(group):
    assert rules(TrainConfig)[f"{group}.name"] == tuple(TABLES[group])
    assert {file.stem for file in (CONF / group).glob("*.yaml")} == set(TABLES[group])


def test_adjustments_of_evaluate_correspond_too():
    assert rules(EvaluateConfig)["adjust.name"] == tuple(ADJUSTMENTS)
    assert {file.stem for file in (CONF / "adjust").glob("*.yaml")} == set(ADJUSTMENTS)


def test_augmentation_order_allows_the_operators_of_the_table():
    assert rules(TrainConfig)["augmentation.order"] == tuple(OPERATORS)
