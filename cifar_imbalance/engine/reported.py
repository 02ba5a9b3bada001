"""The weights of a run that are evaluated, and their logits on an image set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar_imbalance.configuration.fields import Adjust, EvaluateConfig, Model, TrainConfig
from cifar_imbalance.data.experiment_data import ExperimentData
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.step import EvaluationStep, Network
from cifar_imbalance.engine.views import views_of
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.evidence.adjustment import Given, Head
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.view_weights import mean
from cifar_imbalance.models.build import BuiltModel, build_model
from cifar_imbalance.models.heads import saved_head
from cifar_imbalance.models.weights import load_weights
from cifar_imbalance.runs.folder import RunFolder

CLASSES_SHOWN = 5


def load_reported(
    module: nn.Module,
    state: dict[str, Any],
    *,
    name: str,
    load: Callable[[nn.Module, dict[str, Tensor]], object] = nn.Module.load_state_dict,
) -> None:
    """Load the reported weights of a checkpoint into `module`: the average's, if there is one.

    `load` is the runtime's for a module on its device. Raises UsageError if they belong to another model.
    """
    if state["model_name"] != name:
        raise UsageError(f"ckpt: the checkpoint is of {state['model_name']}, not of model.name={name}")
    weights = state["average"] or state["model"]
    try:
        load(module, weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise UsageError(f"ckpt: the checkpoint does not fit {name} with these classes") from error


@dataclass(frozen=True)
class Rebuilt:
    """The model that a run reports, on the CPU in evaluation mode."""

    settings: Model
    built: BuiltModel
    class_names: list[str]
    train_images: NDArray[np.int64]  # [K]
    image_size: tuple[int, int]  # height and width of the run's images


def rebuilt(run: RunFolder) -> Rebuilt:
    """Of a finished run of one model; its images are not read. Raises UsageError if its files are damaged."""
    stored = run.read_config()
    state = checkpoint.load(run.reported_checkpoint(stored))
    names, size = [str(name) for name in state["class_names"]], run.image_size()
    model = replace(stored.model, pretrained=False, weights=None)
    built = build_model(model, class_count=len(names), image_size=size, seed=stored.seed)
    load_reported(built.module, state, name=model.name)
    built.module.eval()
    return Rebuilt(model, built, names, np.array(state["train_images"]), size)


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

    `train_images` [K] are the images of each class in training. Raises TrainingFailed if some are not finite.
    """
    of_views = logits_of_views(network, images, batch_size, views)
    return as_predictions(mean(np.stack(list(of_views.values()))), images, train_images)


def logits_of_views(
    network: Network, images: ImageSet, batch_size: int, views: str
) -> dict[str, Float32[np.ndarray, "images classes"]]:
    """The logits of all images in each of the `views`, by its name. Raises TrainingFailed if some are not finite."""
    network.module.requires_grad_(True)  # torch chooses other kernels for frozen weights, and evaluate.py freezes none
    found = {}
    for name, view in views_of(images.images, views):
        found[name] = EvaluationStep(network, view, batch_size)(network.module).numpy()
        if wrong := int((~np.isfinite(found[name])).any(axis=1).sum()):
            raise TrainingFailed(
                f"the logits of {wrong} of {len(found[name])} images are not finite, so there is nothing to report"
            )
    return found


def as_predictions(
    logits: Float32[np.ndarray, "images classes"], images: ImageSet, train_images: NDArray[np.int64] | None
) -> Predictions:
    """Logits of `images` of a model that was trained with `train_images` [K] of each class."""
    return Predictions(
        logits=logits,
        labels=images.labels,
        indices=images.indices,
        hashes=images.hashes,
        class_names=images.class_names,
        train_images=train_images,
        files=None if images.files is None else np.array(images.files, dtype=str),
    )


def check_classes(state: dict[str, Any], data: ExperimentData, owner: str) -> None:
    """Raises UsageError, which names `owner`, if a checkpoint's classes are not those of the images."""
    if state["class_names"] != list(data.train.class_names):
        names = ", ".join(state["class_names"][:CLASSES_SHOWN])
        raise UsageError(f"{owner}: it was trained on other classes ({names}, ...)")


def split_of(data: ExperimentData, name: str) -> ImageSet:
    """Raises UsageError if there are none."""
    images = {"test": data.test, "validation": data.validation, "train": data.train}[name]
    if images is None:
        raise UsageError(f"split={name}: this run has no such images")
    return images


def build_evaluated(config: EvaluateConfig, data: ExperimentData) -> BuiltModel:
    """The model of an evaluation, whose weights are loaded later."""
    model = replace(config.model, pretrained=False, weights=None)  # the weights are those of ckpt
    height, width = data.train.images.shape[1:3]
    return build_model(model, class_count=len(data.train.class_names), image_size=(height, width), seed=config.seed)
