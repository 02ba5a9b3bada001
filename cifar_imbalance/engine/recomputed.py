"""Logits that runs did not save, of views, of training images, of other images: their models run on the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from cifar_imbalance.configuration.consistency import check_batch_size
from cifar_imbalance.configuration.fields import EvaluateConfig
from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.memory import OF_EVALUATION, out_of_memory_named
from cifar_imbalance.engine.other_images import load_other_images, said_of
from cifar_imbalance.engine.reported import (
    as_predictions,
    build_evaluated,
    check_classes,
    load_reported,
    logits_of_views,
    rebuilt,
    split_of,
)
from cifar_imbalance.engine.step import Network
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.view_weights import cross_fitted, fit, mean, weighted
from cifar_imbalance.models.build import BuiltModel
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runtimes.base import DeviceRuntime


@dataclass(frozen=True, eq=False)
class Recomputed:
    predictions: dict[str, list[Predictions]]  # by split, of each run
    images: UInt8[np.ndarray, "images height width 3"]  # of the split that is evaluated
    views: list[str]
    view_weights: list[Float64[np.ndarray, "views classes"]]  # of each run; empty where they are equal
    details: dict[str, Any]  # for summary.json


def recompute(config: EvaluateConfig, runs: list[RunFolder], runtime: DeviceRuntime) -> Recomputed:
    """The logits of config.views of each run's model: on config.images, or on the runs' own images of config.split.

    Raises UsageError if the images or classes are not those of a run.
    """
    check_batch_size("training.eval_batch_size", config.training.eval_batch_size, devices=runtime.devices)
    return _on_own_images(config, runs, runtime) if config.images is None else _on_other_images(config, runs, runtime)


def _on_other_images(config: EvaluateConfig, runs: list[RunFolder], runtime: DeviceRuntime) -> Recomputed:
    """With the saved logits of validation images, if all runs have some: those of the images as they are."""
    models = [rebuilt(run) for run in runs]
    classes = [model.class_names for model in models]
    images = load_other_images(config, list(zip(runs, classes, strict=True)))
    found = Recomputed({"test": []}, images[0].images, [], [], said_of(config, images[0], runs))
    for model, of_run in zip(models, images, strict=True):
        of_views = _logits(config, model.built, {"test": of_run}, runtime)["test"]
        found.views[:] = of_views
        logits = mean(np.stack(list(of_views.values())))
        found.predictions["test"].append(as_predictions(logits, of_run, model.train_images))
    files = [run.checked_predictions("validation") for run in runs]
    if config.views == "none" and all(file.is_file() for file in files):
        found.predictions["validation"] = [Predictions.load(file) for file in files]
    return found


def _on_own_images(config: EvaluateConfig, runs: list[RunFolder], runtime: DeviceRuntime) -> Recomputed:
    """Also on validation images, if all runs held out some.

    With view_weights=by_class validation images are weighted by what was learnt on others of them. An adjustment that
    is cross-fitted on these logits has seen a fold's labels in so far as the weights of other folds depend on them.
    """
    held_out = all(run.predictions("validation").is_file() for run in runs)
    data = load_experiment_data(config.dataset)  # all runs have the same
    hashes = data.record()["sha256"]
    images = {split: split_of(data, split) for split in (config.split, *(["validation"] if held_out else []))}
    found = Recomputed({split: [] for split in images}, images[config.split].images, [], [], {})
    for run in runs:
        run.check_images({split: hashes[split] for split in images}, f"ckpt={run.path}")
        stored = run.read_config()
        built = build_evaluated(replace(config, model=stored.model, seed=stored.seed), data)
        state = checkpoint.load(run.reported_checkpoint(stored))
        check_classes(state, data, f"ckpt={run.path}")
        load_reported(built.module, state, name=stored.model.name)
        of_views = _logits(config, built, images, runtime)
        found.views[:] = of_views[config.split]
        stacks = {split: np.stack(list(views.values())) for split, views in of_views.items()}
        if config.view_weights == "equal":
            averages = {split: mean(stack) for split, stack in stacks.items()}
        else:
            labels = images["validation"].labels
            weights = fit(stacks["validation"], labels)
            found.view_weights.append(weights)
            averages = {split: weighted(stack, weights) for split, stack in stacks.items()}
            averages["validation"] = cross_fitted(stacks["validation"], labels)
        for split, logits in averages.items():
            found.predictions[split].append(as_predictions(logits, images[split], np.array(state["train_images"])))
    return found


def _logits(
    config: EvaluateConfig, built: BuiltModel, images: Mapping[str, ImageSet], runtime: DeviceRuntime
) -> dict[str, dict[str, Float32[np.ndarray, "images classes"]]]:
    """Of each split, the logits in each of config.views."""
    size = config.training.eval_batch_size
    with out_of_memory_named(runtime, {"training.eval_batch_size": size}, OF_EVALUATION):
        network = Network.on_device(built, runtime)
        return {split: logits_of_views(network, one, size, config.views) for split, one in images.items()}
