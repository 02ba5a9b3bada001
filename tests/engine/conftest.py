"""A run that takes seconds: timm's smallest network on digits of 16 pixels."""

from dataclasses import replace

import pytest

from cifar_imbalance.configuration.fields import (
    Augmentation,
    Dataset,
    Flip,
    Model,
    Optimizer,
    Plots,
    Runtime,
    Schedule,
    TrainConfig,
    Training,
)

TINY = TrainConfig(
    experiment="tiny",
    dataset=Dataset(name="digits", image_size=16),
    augmentation=Augmentation(flip=Flip()),
    model=Model(name="test_efficientnet", drop_rate=0.2),
    optimizer=Optimizer(name="adamw"),
    schedule=Schedule(name="constant", max_lr=0.003),
    training=Training(epochs=2, batch_size=64),
    runtime=Runtime(name="cpu"),
    plots=Plots(pdf=False),
)


@pytest.fixture
def tiny():
    """The tiny run's configuration; groups are changed field by field: tiny(training={"epochs": 3}, seed=1)."""

    def changed(**groups):
        values = {
            name: replace(getattr(TINY, name), **value) if isinstance(value, dict) else value
            for name, value in groups.items()
        }
        return replace(TINY, **values)

    return changed
