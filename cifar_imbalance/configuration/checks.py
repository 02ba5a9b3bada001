"""The only judge of a configuration's values: types, ranges, names, and whether the paths in it exist.

What needs the images, the model or the device is refused later, by their owners; nothing here imports anything heavy,
so that a mistake is answered at once.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cifar_imbalance.configuration.allowed import CHOICES, NOT_NEGATIVE, RANGES, SEED, WEIGHT_SUFFIXES, Range
from cifar_imbalance.configuration.fields import (
    BENCHMARK_ROWS,
    OPERATORS,
    Augmentation,
    BenchmarkConfig,
    EvaluateConfig,
    FiguresConfig,
    Runtime,
    Schedule,
    TrainConfig,
)
from cifar_imbalance.configuration.hardware import INSTALL_XLA, tpu_is_attached
from cifar_imbalance.configuration.schema import as_dataclass
from cifar_imbalance.errors import UsageError, choose_from

MAKE_KERAS_PYTHON = (
    "python3 -m venv keras && keras/bin/pip install tensorflow-cpu makes one, then keras_python=keras/bin/python"
)
_XLA_NAMES = ("xla", "tpu")
_FACTOR_RANGES = ("contrast", "saturation", "brightness")


def checked_train(composed: DictConfig) -> TrainConfig:
    """The configuration of a training run as dataclasses, every value judged. Raises UsageError."""
    config = as_dataclass(TrainConfig, composed)
    _check_values(config)
    _check_augmentation(config.augmentation)
    _check_schedule(config)
    _check_runtime(config.runtime)
    _check_batches_split(config)
    _check_dataset(config)
    _check_ensemble(config)
    if config.resume is None:  # a resumed run has its weights in its folder
        _check_weights("model.weights", config.model.weights)
        for file in config.ensemble.weights:
            _check_weights("ensemble.weights", file)
    return config


def checked_evaluate(composed: DictConfig, *, reads_images: bool = True) -> EvaluateConfig:
    """The configuration of an evaluation as dataclasses, every value judged. Raises UsageError."""
    config = as_dataclass(EvaluateConfig, composed)
    _check_values(config)
    if reads_images:
        _check_runtime(config.runtime)
        _check_batches_split(config)
        _check_dataset(config)
    if config.split == "validation" and config.dataset.validation == "none":
        raise UsageError("split=validation: this run has none (dataset.validation=none); allowed are test, train")
    return config


def checked_figures(composed: DictConfig) -> FiguresConfig:
    """The configuration of pictures of the data as dataclasses, every value judged. Raises UsageError."""
    config = as_dataclass(FiguresConfig, composed)
    _check_values(config)
    _check_augmentation(config.augmentation)
    _check_dataset(config)
    return config


def checked_benchmark(composed: DictConfig) -> BenchmarkConfig:
    """The configuration of a benchmark as dataclasses, every value judged. Raises UsageError."""
    config = as_dataclass(BenchmarkConfig, composed)
    _check_values(config)
    _check_augmentation(config.augmentation)
    name = _runtime_name(config.runtime)
    if name in _XLA_NAMES:
        raise UsageError(f"runtime={name}: allowed are auto, cpu, cuda; XLA has a row of its own, xla_step")
    _check_runtime(config.runtime)
    for field, usual in (("pretrained", False), ("weights", None), ("freeze_ratio", 0), ("freeze_batch_norm", False)):
        value = getattr(config.model, field)
        if value != usual:
            raise UsageError(f"model.{field}={value}: not all rows of the benchmark can have it; leave it out")
    for row in config.rows:
        if row not in BENCHMARK_ROWS:
            raise choose_from("rows", row, BENCHMARK_ROWS)
    if not config.rows:
        raise UsageError(f"rows=[]: choose from {', '.join(BENCHMARK_ROWS)}")
    if config.keras_python is not None and not os.access(Path(config.keras_python).expanduser(), os.X_OK):
        raise UsageError(f"keras_python={config.keras_python}: there is no such program; {MAKE_KERAS_PYTHON}")
    return config


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, value


def _check_values(config: Any) -> None:
    for path, value in _leaves(config):
        if value is None:
            continue
        if path in CHOICES and value not in CHOICES[path]:
            raise choose_from(path, value, CHOICES[path])
        if path in RANGES and not RANGES[path].holds(value):
            raise UsageError(f"{path}={value}: allowed is {RANGES[path]}")


def _check_augmentation(augmentation: Augmentation) -> None:
    for name in augmentation.order:
        if name not in OPERATORS:
            raise choose_from("augmentation.order", name, OPERATORS)
    if len(set(augmentation.order)) < len(augmentation.order):
        raise UsageError(f"augmentation.order={augmentation.order}: each operator stands in it once")
    for name in OPERATORS:
        if getattr(augmentation, name) is not None and name not in augmentation.order:
            raise UsageError(f"augmentation.order={augmentation.order}: {name} is switched on and has no place in it")
    if augmentation.color_jitter is not None:
        for name in _FACTOR_RANGES:
            factors = getattr(augmentation.color_jitter, name)
            if len(factors) != 2 or not all(NOT_NEGATIVE.holds(f) for f in factors) or factors[0] > factors[1]:
                raise UsageError(f"augmentation.color_jitter.{name}={factors}: [LOW, HIGH] with 0 <= LOW <= HIGH")


def _check_schedule(config: TrainConfig) -> None:
    schedule, epochs = config.schedule, config.training.epochs
    if schedule.min_lr > schedule.max_lr:
        raise UsageError(f"schedule.min_lr={schedule.min_lr}: at most schedule.max_lr, which is {schedule.max_lr}")
    if schedule.warmup_epochs > epochs:
        raise UsageError(f"schedule.warmup_epochs={schedule.warmup_epochs}: at most training.epochs, which is {epochs}")
    if schedule.name == "burnin_warmup_flat_cooldown":
        _check_phases(schedule, epochs)
    else:
        for name in ("burnin_epochs", "flat_epochs", "cooldown_epochs", "per_step"):
            if getattr(schedule, name):
                raise UsageError(f"schedule.{name}={getattr(schedule, name)}: only with burnin_warmup_flat_cooldown")
    if any(not epoch > 0 for epoch in schedule.milestones) or schedule.milestones != sorted(set(schedule.milestones)):
        raise UsageError(f"schedule.milestones={schedule.milestones}: rising epochs, each at least 1")
    betas = config.optimizer.betas
    if len(betas) != 2 or not all(Range(0, 1, high_open=True).holds(beta) for beta in betas):
        raise UsageError(f"optimizer.betas={betas}: two numbers, each at least 0 and less than 1")
    if config.optimizer.nesterov and config.optimizer.momentum == 0:
        raise UsageError("optimizer.nesterov=True: needs optimizer.momentum above 0")


def _check_phases(schedule: Schedule, epochs: int) -> None:
    if schedule.warmup_epochs != int(schedule.warmup_epochs):
        raise UsageError(f"schedule.warmup_epochs={schedule.warmup_epochs}: {schedule.name} has whole epochs")
    names = ("burnin_epochs", "warmup_epochs", "flat_epochs", "cooldown_epochs")
    lengths = [int(getattr(schedule, name)) for name in names]
    if sum(lengths) != epochs:
        listed = " + ".join(f"{name} {length}" for name, length in zip(names, lengths, strict=True))
        raise UsageError(f"training.epochs={epochs}: allowed is {sum(lengths)}, what the schedule has: {listed}")


def check_sweep_in_one_process(configs: list[TrainConfig | EvaluateConfig]) -> None:
    """Raises UsageError where jobs that one process runs in turn want XLA's devices in different ways."""
    wanted = sorted({(_runtime_name(config.runtime), str(config.runtime.devices)) for config in configs})
    if len(wanted) > 1 and any(name in _XLA_NAMES for name, _ in wanted):
        listed = ", ".join(f"{name} with devices={devices}" for name, devices in wanted)
        raise UsageError(
            f"runtime: this sweep wants {listed}; XLA takes its devices once in a process, allowed is one of them"
        )


def _runtime_name(runtime: Runtime) -> str:
    """Its name; `auto` where there is a TPU is tpu."""
    name = runtime.name
    return "tpu" if name == "auto" and tpu_is_attached() and importlib.util.find_spec("torch_xla") else name


def _check_runtime(runtime: Runtime) -> None:
    name = _runtime_name(runtime)
    if name in _XLA_NAMES and importlib.util.find_spec("torch_xla") is None:
        raise UsageError(f"runtime={name}: torch_xla is not installed; {INSTALL_XLA} installs it, or use runtime=cpu")
    if name == "tpu" and not tpu_is_attached():
        raise UsageError(
            "runtime=tpu: no TPU was found on this machine; on one that has a TPU, pip install 'torch_xla[tpu]==2.9.*' "
            "brings its driver; here use runtime=auto, cpu, cuda or xla"
        )
    if runtime.devices is not None and name not in _XLA_NAMES:
        raise UsageError(f"runtime.devices={runtime.devices}: only with runtime=xla or runtime=tpu")


def _check_batches_split(config: TrainConfig | EvaluateConfig) -> None:
    for path, value in _leaves(config.training, "training."):
        if path.endswith("batch_size") and config.runtime.devices is not None and value % config.runtime.devices:
            raise UsageError(f"{path}={value}: a multiple of runtime.devices is wanted ({config.runtime.devices})")


def _check_ensemble(config: TrainConfig) -> None:
    ensemble = config.ensemble
    for name in ("models", "weights", "augmentations"):
        given = len(getattr(ensemble, name))
        if given not in (0, ensemble.members):
            raise UsageError(
                f"ensemble.{name}: {given} entries for ensemble.members={ensemble.members}; one each, or []"
            )
    if ensemble.members == 1 and (ensemble.models or ensemble.weights or ensemble.augmentations):
        raise UsageError("ensemble.members=1: a single model; ensemble.models, .weights, .augmentations need more")
    switched_on = [name for name in OPERATORS if getattr(config.augmentation, name) is not None]
    for operator in [operator for operators in ensemble.augmentations for operator in operators]:
        if operator not in switched_on:
            hint = f"allowed are those that are switched on: {', '.join(switched_on) or 'none is'}"
            raise UsageError(f"ensemble.augmentations: {operator}; {hint}; switch on with augmentation=[{operator}]")
    if ensemble.folds and (ensemble.members == 1 or config.dataset.folds is not None):
        raise UsageError("ensemble.folds=True: needs ensemble.members above 1, and dataset.folds=null")
    if ensemble.combine == "weighted" and config.dataset.validation != "holdout":
        raise UsageError(
            f"ensemble.combine=weighted: weighs by the validation images and needs dataset.validation=holdout, "
            f"not {config.dataset.validation}"
        )
    largest = (SEED.high + 1) // ensemble.members - 1
    if config.seed > largest:
        raise UsageError(f"seed={config.seed}: with ensemble.members={ensemble.members} at most {largest:.0f}")
    if ensemble.workers != "auto" and not (ensemble.workers.isdecimal() and int(ensemble.workers) > 0):
        raise UsageError(f"ensemble.workers={ensemble.workers}: allowed are auto and numbers of at least 1")
    if (
        ensemble.members > 1
        and ensemble.workers not in ("auto", "1")
        and _runtime_name(config.runtime) not in ("auto", "cpu")
    ):
        raise UsageError(
            f"ensemble.workers={ensemble.workers}: only runtime=cpu trains members side by side; "
            "on an accelerator each has all cores to itself"
        )


def _check_dataset(config: TrainConfig | EvaluateConfig | FiguresConfig) -> None:
    dataset = config.dataset
    if dataset.name == "image_folder":
        if dataset.root is None:
            raise UsageError("dataset.root: image_folder needs a folder with train/CLASS/ and test/CLASS/ in it")
        for part in ("train", "test"):
            if not (Path(dataset.root).expanduser() / part).is_dir():
                raise UsageError(
                    f"dataset.root={dataset.root}: there is no folder {part}/ in it ({part}/CLASS/IMAGE is wanted)"
                )
    elif dataset.root is not None and dataset.name != "digits" and not Path(dataset.root).expanduser().is_dir():
        raise UsageError(
            f"dataset.root={dataset.root}: there is no such folder; leave it out to download {dataset.name}"
        )
    cache = Path(dataset.cache_dir).expanduser().absolute()
    if not next(place for place in (cache, *cache.parents) if place.exists()).is_dir():
        raise UsageError(f"dataset.cache_dir={dataset.cache_dir}: there is a file in the way of this folder")
    if (dataset.folds is None) != (dataset.without_fold is None):
        raise UsageError("dataset.folds, dataset.without_fold: one needs the other")
    if dataset.folds is not None and dataset.without_fold is not None and dataset.without_fold >= dataset.folds:
        raise UsageError(f"dataset.without_fold={dataset.without_fold}: allowed is 0 to {dataset.folds - 1}")
    if dataset.name == "digits" and dataset.root is not None:
        raise UsageError(f"dataset.root={dataset.root}: digits come with scikit-learn and have no folder")
    if dataset.imbalance.profile == "none" and dataset.imbalance.factor != 1:
        raise UsageError(
            f"dataset.imbalance.factor={dataset.imbalance.factor}: has no effect with dataset.imbalance.profile=none; "
            "allowed are exponential, step"
        )
    if dataset.imbalance.profile != "none" and dataset.imbalance.factor == 1:
        raise UsageError(f"dataset.imbalance.factor=1.0: {dataset.imbalance.profile} needs a factor above 1")


def _check_weights(path: str, value: str | None) -> None:
    if value is None:
        return
    file = Path(value).expanduser()
    if not file.is_file():
        raise UsageError(f"{path}={value}: there is no such file")
    if file.suffix not in WEIGHT_SUFFIXES:
        raise UsageError(f"{path}={value}: allowed are files that end in {', '.join(WEIGHT_SUFFIXES)}")
