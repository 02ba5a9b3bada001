"""Which weights of a run are judged, and their logits on an image set."""

from __future__ import annotations

from typing import Any

from torch import nn

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.engine.step import EvaluationStep, Network, resident
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.predictions import Predictions


def use_of_test_images(config: TrainConfig) -> str:
    if config.dataset.validation == "test":
        return "after every epoch (dataset.validation=test)"
    return "once, at the end"


def load_reported(module: nn.Module, state: dict[str, Any], *, name: str) -> None:
    """Put the weights that a checkpoint reports into `module`: the average's where there is one.

    Raises UsageError where they belong to another model.
    """
    if state["model_name"] != name:
        raise UsageError(f"ckpt: the checkpoint is of {state['model_name']}, not of model.name={name}")
    weights = state["average"] or state["model"]
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UsageError(f"ckpt: the checkpoint does not fit {name} with these classes") from error


def predict(network: Network, images: ImageSet, batch_size: int) -> Predictions:
    """Logits of all images with the network's present weights."""
    step = EvaluationStep(network, resident(images.images, network.runtime), batch_size)
    logits = step(network.module).numpy()
    return Predictions(
        logits=logits,
        labels=images.labels,
        indices=images.indices,
        hashes=images.hashes,
        class_names=images.class_names,
    )
