"""What a run needs beside its folder: device, images, augmentation, model and teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.consistency import check_batch_size
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.data.experiment_data import ExperimentData, load_experiment_data
from cifar_imbalance.engine.reported import load_parent
from cifar_imbalance.engine.teacher import Teacher, load_teacher
from cifar_imbalance.errors import UsageError
from cifar_imbalance.methods.losses import NEED_IMAGES
from cifar_imbalance.methods.schedules import burnin_epochs
from cifar_imbalance.models.build import BuiltModel, build_model, check_name
from cifar_imbalance.models.freezing import check_head
from cifar_imbalance.models.heads import class_vectors
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.runtimes.select import make_runtime
from cifar_imbalance.terminal import Terminal


@dataclass(frozen=True)
class Prepared:
    """What a run needs, prepared before its folder is claimed."""

    runtime: DeviceRuntime
    data: ExperimentData
    policy: Policy
    built: BuiltModel
    teacher: Teacher | None


def prepare(
    config: TrainConfig,
    like: Prepared | None = None,
    *,
    runtime: DeviceRuntime | None = None,
    terminal: Terminal | None = None,
) -> Prepared:
    """Device, images, augmentation and model; device and images are those of `like`, which has the same, if given.

    The device is otherwise that of `config.runtime`, unless a `runtime` is given. With a `terminal` this may be one of
    several processes on a pod, and all but the first print nothing on theirs. Raises UsageError if the configuration
    does not suit them.
    """
    if runtime is None:
        runtime = like.runtime if like else _runtime(config, terminal)
    check_name(config.model)  # before images are downloaded and decoded
    data = like.data if like else load_experiment_data(config.dataset)
    height, width = data.train.images.shape[1:3]
    counts, names = data.train.class_counts, data.train.class_names
    if config.loss.name in NEED_IMAGES and not counts.all():
        empty = names[int(np.argmin(counts))]
        raise UsageError(f"loss={config.loss.name}: it is infinite for class {empty}, which has no training images")
    policy = Policy(config.augmentation, height=height, width=width)
    training, images = config.training, len(data.train.labels)
    check_batch_size("training.batch_size", training.batch_size, devices=runtime.devices, images=images)
    check_batch_size("training.eval_batch_size", training.eval_batch_size, devices=runtime.devices)
    model = config.model
    if config.resume is not None:  # the weights are in the checkpoint; neither hub nor file is needed
        model = replace(model, pretrained=False, weights=None)
    class_count = len(data.train.class_names)
    built = build_model(model, class_count=class_count, image_size=(height, width), seed=config.seed)
    if config.start is not None and config.resume is None:
        load_parent(built.module, config, data.train.class_names)
    check_head(built.module, config.model, burnin_epochs=burnin_epochs(config.schedule))
    if config.training.head_max_norm is not None:
        class_vectors(built.module, config.model)
    return Prepared(runtime, data, policy, built, load_teacher(config, data))


def _runtime(config: TrainConfig, terminal: Terminal | None) -> DeviceRuntime:
    runtime = make_runtime(config.runtime, deterministic=config.deterministic, on_pods=terminal is not None)
    if terminal is not None and runtime.process > 0:
        terminal.console.quiet = True
    return runtime
