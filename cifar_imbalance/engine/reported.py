"""The weights of a run that are evaluated, and their logits on an image set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cifar_imbalance.configuration.fields import Adjust, TrainConfig
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.step import EvaluationStep, Network, resident
from cifar_imbalance.engine.views import views_of
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.evidence.adjustment import Given, Head
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.models.heads import saved_head
from cifar_imbalance.models.weights import load_weights
from cifar_imbalance.runs.folder import RunFolder

CLASSES_SHOWN = 5


def load_reported(module: nn.Module, state: dict[str, Any], *, name: str) -> None:
    """Load the reported weights of a checkpoint into `module`: the average's, if there is one.

    Raises UsageError if they belong to another model.
    """
    if state["model_name"] != name:
        raise UsageError(f"ckpt: the checkpoint is of {state['model_name']}, not of model.name={name}")
    weights = state["average"] or state["model"]
    try:
        module.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise UsageError(f"ckpt: the checkpoint does not fit {name} with these classes") from error


def load_parent(module: nn.Module, config: TrainConfig, class_names: Sequence[str]) -> None:
    """Load the reported weights of the run `config.start` into `module`; with `fresh_head` the head keeps its own.

    A member of an ensemble starts from the parent's member of the same number. Raises UsageError if they do not fit.
    """
    parent = RunFolder(Path(str(config.start)))
    file = parent.reported_checkpoint(parent.read_config())
    trained = checkpoint.load(file)["class_names"]
    if trained != list(class_names) and not config.fresh_head:
        names = ", ".join(trained[:CLASSES_SHOWN])
        raise UsageError(f"start={config.start}: it was trained on other classes ({names}, ...); add fresh_head=true")
    load_weights(module, file, name=config.model.name, field="start", fresh_head=config.fresh_head)


def given_for(adjust: Adjust, run: RunFolder, validation: Predictions | None, predictions: Predictions) -> Given:
    """What the numbers of an adjustment of `predictions` can come from; the head is that of the single model `run`.

    Raises UsageError if it has none.
    """
    head = None
    if adjust.name == "tau_normalization":
        config = run.read_config()
        state = checkpoint.load(run.reported_checkpoint(config))
        vectors, bias = saved_head(state["average"] or state["model"], name=config.model.name)
        head = Head(vectors.double().norm(dim=1).numpy(), bias.double().numpy())
    return Given(validation, predictions.train_images, head)


def predict(
    network: Network,
    images: ImageSet,
    batch_size: int,
    *,
    train_images: NDArray[np.int64] | None,
    views: str = "none",
) -> Predictions:
    """Logits of all images with the network's current weights, the mean over their `views`.

    `train_images` [K] are the images of each class in training.

    Raises TrainingFailed if some are not finite.
    """
    network.module.requires_grad_(True)  # torch chooses other kernels for frozen weights, and evaluate.py freezes none
    of_views = [
        EvaluationStep(network, resident(view, network.runtime), batch_size)(network.module).numpy()
        for view in views_of(images.images, views)
    ]
    logits = of_views[0] if len(of_views) == 1 else np.stack(of_views).mean(axis=0, dtype=np.float64).astype(np.float32)
    if wrong := int((~np.isfinite(logits)).any(axis=1).sum()):
        raise TrainingFailed(
            f"the logits of {wrong} of {len(logits)} images are not finite, so there is nothing to report"
        )
    return Predictions(
        logits=logits,
        labels=images.labels,
        indices=images.indices,
        hashes=images.hashes,
        class_names=images.class_names,
        train_images=train_images,
        files=None if images.files is None else np.array(images.files, dtype=str),
    )
