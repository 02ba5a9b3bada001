"""The training loop of a run, assembled from its configuration and what is prepared."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from cifar_imbalance.configuration.fields import Optimizer, TrainConfig
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.epoch_runner import EpochRunner
from cifar_imbalance.engine.features import what_is_trained
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.prepared import Prepared
from cifar_imbalance.engine.step import EvaluationStep, Inputs, Network, TrainingStep
from cifar_imbalance.engine.update import WeightAverage, state_of
from cifar_imbalance.methods.class_weights import class_weights
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.methods.controllers import CONTROLLERS
from cifar_imbalance.methods.max_norm import norm_limit
from cifar_imbalance.methods.optimizers import fresh_state, load_state, make_optimizer
from cifar_imbalance.models.heads import class_vectors
from cifar_imbalance.runs.folder import RunFolder


def make_loop(config: TrainConfig, prepared: Prepared, folder: RunFolder, state: dict[str, Any] | None = None) -> Loop:
    """A loop with model, images and optimiser on the device, at the start or at a checkpoint's `state`."""
    runtime, data, built, teacher = prepared.runtime, prepared.data, prepared.built, prepared.teacher
    counts = data.train.class_counts
    teacher_share = None if teacher is None else teacher.share
    classes = Classes(counts, class_weights(counts, config.class_weights), np.zeros_like(counts), teacher_share)
    controller = CONTROLLERS[config.controller.name](classes, config.controller)
    host_average = copy.deepcopy(built.module)  # weights are loaded on the host, then moved to the device
    if state is None:
        optimizer_state = fresh_state(built.module, config.optimizer)
    else:
        with checkpoint.fitting(folder.checkpoint("last")):
            controller.load_state_dict(state["controller"])
            built.module.load_state_dict(state["model"])
            host_average.load_state_dict(state["average"] or state["model"])
            checkpoint.check_alike(state["optimizer"], fresh_state(built.module, config.optimizer))
        optimizer_state = state["optimizer"]
    limit = None
    if (share := config.training.head_max_norm) is not None:
        limit = state["norm_limit"] if state else norm_limit(class_vectors(built.module, config.model), share)
    network = Network.on_device(built, runtime)
    average = None if config.training.ema_decay is None else runtime.place_model(host_average)
    with checkpoint.fitting(folder.checkpoint("last")):
        optimizer = _on_device(optimizer_state, network, config.optimizer)
    trained, train_images, validation_images = what_is_trained(
        config, network, data.train.images, None if data.validation is None else data.validation.images
    )
    validation_step = None
    if validation_images is not None:
        validation_step = EvaluationStep(trained, validation_images, config.training.eval_batch_size)
    return Loop(
        config=config,
        runtime=runtime,
        folder=folder,
        train=data.train,
        validation=data.validation,
        policy=prepared.policy,
        network=network,
        average=average,
        optimizer=optimizer,
        training_step=_training_step(config, prepared, trained, train_images, optimizer, average),
        runner=EpochRunner(runtime, config.training.epochs),
        validation_step=validation_step,
        controller=controller,
        norm_limit=limit,
        history=[] if state is None else folder.read_history(state["epoch"]),
        recalls=[] if state is None else folder.read_recalls(state["epoch"]),
        class_values=[] if state is None or state["class_values"] is None else list(state["class_values"].numpy()),
        best=None if state is None else state["best"],
    )


def _on_device(state: dict[int, Any], network: Network, settings: Optimizer) -> torch.optim.Optimizer:
    """An optimiser of the network's parameters with this `state`, which is on the host."""
    runtime = network.runtime
    optimizer = make_optimizer(
        network.module,
        settings,
        learning_rate=runtime.learning_rate(runtime.place(torch.tensor(runtime.smallest_rate))),
        variant=runtime.optimizer_variant(),
    )
    load_state(optimizer, state, runtime.place)
    runtime.prepare_optimizer(optimizer)
    return optimizer


def _training_step(
    config: TrainConfig,
    prepared: Prepared,
    trained: Network,
    images: Inputs,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
) -> TrainingStep:
    """The step that trains `trained` on `images`, which are a head and features where only that changes."""
    decay, teacher = config.training.ema_decay, prepared.teacher
    return TrainingStep(
        trained,
        optimizer,
        images=images,
        labels=prepared.data.train.labels,
        policy=prepared.policy,
        model=config.model,
        loss=config.loss,
        mixing=config.mixing,
        clip_norm=config.training.clip_norm,
        average=None
        if average is None or decay is None
        else WeightAverage(state_of(average), state_of(trained.module), decay),
        teacher=None if teacher is None else teacher.logits,
        temperature=None if teacher is None else config.distillation.temperature,
    )
