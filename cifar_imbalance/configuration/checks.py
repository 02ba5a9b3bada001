"""What each program checks in its configuration.

Values are checked here, in `consistency.py` and at the fields, nowhere else. Checks that need the images, the model or
the device are made later, by the modules that own them; nothing here imports anything heavy, so that a mistake is
reported at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.configuration.consistency import (
    STEPS_DIFFER,
    check_augmentation,
    check_batch_sizes,
    check_cache,
    check_controller,
    check_corrections,
    check_dataset,
    check_ensemble,
    check_head,
    check_optimizer,
    check_runtime,
    check_schedule,
    check_teacher,
    check_weights,
)
from cifar_imbalance.configuration.effects import check_effects, check_evaluation_effects, models_run, settle_choices
from cifar_imbalance.configuration.fields import (
    BENCHMARK_ROWS,
    OBJECTIVES,
    TRACKERS,
    XLA_ROWS,
    BenchmarkConfig,
    EvaluateConfig,
    ExportConfig,
    FiguresConfig,
    PredictConfig,
    Preflighting,
    Runtime,
    Searching,
    TrackConfig,
    TrainConfig,
)
from cifar_imbalance.configuration.hardware import XLA_NAMES, resolved_runtime
from cifar_imbalance.configuration.installed import check_installed
from cifar_imbalance.configuration.schema import as_dataclass, field_paths, unknown_field
from cifar_imbalance.configuration.tpus import TOPOLOGIES, Topology
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import UsageError

MAKE_KERAS_PYTHON = (
    "python3 -m venv keras && keras/bin/pip install tensorflow-cpu makes one, then keras_python=keras/bin/python"
)
# What a run has and a pre-flight has not: it trains nothing, and chooses its device itself.
NOT_IN_PREFLIGHT = (
    *("resume", "logger", "plots", "open", "checkpoint", "ensemble.workers", "ensemble.combine"),
    *("runtime.name", "runtime.devices", "runtime.threads", "runtime.compile"),
)
OTHER_IMAGES = "images=FOLDER evaluates a run on other test images"


def checked_train(composed: DictConfig, typed: Iterable[str] = ()) -> TrainConfig:
    """The configuration of a training run as dataclasses, every value checked.

    `typed` are the fields given on the command line. Raises UsageError.
    """
    config = as_dataclass(TrainConfig, composed)
    settle_choices(config, typed)
    check_effects(config, typed)
    check_augmentation(config.augmentation)
    check_schedule(config)
    check_corrections(config)
    check_controller(config)
    check_teacher(config)
    check_head(config)
    check_optimizer(config)
    check_runtime(config.runtime)
    check_batch_sizes(config)
    check_dataset(config)
    check_ensemble(config)
    config.logger = _checked_trackers(config.logger)
    if config.resume is None:  # a resumed run has its weights in its folder
        check_weights("model.weights", config.model.weights)
        for file in config.ensemble.weights:
            check_weights("ensemble.weights", file)
    return config


def checked_evaluate(
    composed: DictConfig, typed: Iterable[str] = (), *, of_saved_logits: bool = False, of_weights: bool = False
) -> EvaluateConfig:
    """The configuration of an evaluation as dataclasses, every value checked.

    `typed` are the fields given on the command line. An evaluation `of_saved_logits` is of runs, one `of_weights`
    is of a file that belongs to no run. Raises UsageError.
    """
    typed = list(typed)
    config = as_dataclass(EvaluateConfig, composed)
    settle_choices(config, typed)
    if not of_saved_logits or models_run(config):
        check_runtime(config.runtime)
        check_batch_sizes(config)
        if config.images is not None:
            check_cache(config.dataset.cache_dir)
        else:
            try:
                check_dataset(config)
            except UsageError as error:
                if "dataset.root" not in typed or of_weights or config.split != "test":
                    raise
                raise UsageError(f"{error}; {OTHER_IMAGES}") from error
    check_evaluation_effects(config, typed, of_saved_logits=of_saved_logits, of_weights=of_weights)
    if config.split == "validation" and config.dataset.validation != "holdout":
        how = f"dataset.validation={config.dataset.validation}"
        raise UsageError(f"split=validation: this run has none ({how}); allowed are test, train")
    return config


def checked_grouping(composed: DictConfig, typed: Iterable[str] = ()) -> EvaluateConfig:
    """The configuration of a table of runs as dataclasses, every value checked. Raises UsageError."""
    config = as_dataclass(EvaluateConfig, composed)
    settle_choices(config, typed)
    fields = config.group_by if isinstance(config.group_by, list) else [config.group_by]
    if not fields or not all(isinstance(name, str) for name in fields):
        raise UsageError(f"group_by={config.group_by}: a field is expected, or a list of fields")
    known = field_paths(TrainConfig)
    for name in fields:
        if name not in known:
            raise unknown_field(name, TrainConfig, asked=f"group_by={name}")
    _check_typed(typed, ("ckpt", "group_by", "baseline", "adjust", "open", "plots"), "a table of runs")
    return config


def checked_seeds(composed: DictConfig, typed: Iterable[str] = ()) -> EvaluateConfig:
    """The configuration of a comparison of folders of runs as dataclasses, all values checked. Raises UsageError."""
    config = as_dataclass(EvaluateConfig, composed)
    settle_choices(config, typed)
    _check_typed(typed, ("ckpt", "reference", "open", "plots"), "a comparison of folders of runs")
    return config


def _check_typed(typed: Iterable[str], allowed: Sequence[str], what: str) -> None:
    for key in typed:
        if not (key.startswith("hydra") or any(key == one or key.startswith(f"{one}.") for one in allowed)):
            raise UsageError(f"{key}: has no effect on {what}; allowed are {', '.join(allowed)}")


def checked_figures(composed: DictConfig, typed: Iterable[str] = ()) -> FiguresConfig:
    """The configuration of plots of the data as dataclasses, every value checked. Raises UsageError."""
    config = as_dataclass(FiguresConfig, composed)
    check_effects(config, typed)
    check_augmentation(config.augmentation)
    check_dataset(config)
    _check_output(config.output, "class_counts.png")
    return config


def checked_export(composed: DictConfig) -> ExportConfig:
    """The configuration of an export as dataclasses, every value checked. Raises UsageError."""
    if OmegaConf.is_missing(composed, "ckpt"):
        raise UsageError("ckpt: a value is missing; write ckpt=RUN_FOLDER")
    config = as_dataclass(ExportConfig, composed)
    _check_output(config.output, "classes.json")
    return config


def checked_predict(composed: DictConfig, typed: Iterable[str] = ()) -> PredictConfig:
    """The configuration of predictions as dataclasses, every value checked. Raises UsageError."""
    for name in ("ckpt", "images"):
        if OmegaConf.is_missing(composed, name):
            raise UsageError(f"{name}: a value is missing; write ckpt=RUN_FOLDER images=FOLDER")
    config = as_dataclass(PredictConfig, composed)
    settle_choices(config, typed)
    check_runtime(config.runtime)
    _check_output(config.output, "predictions.csv")
    return config


def checked_search(composed: DictConfig, typed: Iterable[str] = ()) -> Searching:
    """What is a search's own in its configuration, every value checked. Raises UsageError."""
    check_installed("optuna", "search", extra="search")
    if "resume" in typed:
        raise UsageError(f"resume={composed.resume}: a search goes on in its own folder, output=FOLDER")
    if OmegaConf.is_missing(composed, "trials"):
        raise UsageError("trials: a value is missing; write trials=NUMBER")
    own = as_dataclass(Searching, OmegaConf.masked_copy(composed, [f.name for f in fields_of(Searching)]))
    if not own.objectives or len(set(own.objectives)) < len(own.objectives):
        raise UsageError(f"objectives={own.objectives}: at least one, each once, of {', '.join(OBJECTIVES)}")
    return own


def checked_preflight(composed: DictConfig, typed: Iterable[str] = ()) -> Preflighting:
    """What is a pre-flight's own in its configuration, every value checked. Raises UsageError."""
    if OmegaConf.is_missing(composed, "topology"):
        raise UsageError(f"topology: a value is missing; write topology=NAME: {', '.join(TOPOLOGIES)}")
    own = as_dataclass(Preflighting, OmegaConf.masked_copy(composed, [f.name for f in fields_of(Preflighting)]))
    for key in typed:
        if key == "runtime" or any(f"{key}.".startswith(f"{unused}.") for unused in NOT_IN_PREFLIGHT):
            raise UsageError(f"{key}: has no effect on a pre-flight, which trains nothing and runs on no device")
    _check_output(own.output, "preflight.json")
    for package in ("torch_xla", "jax", "libtpu"):
        check_installed(package, f"topology={own.topology}", extra="preflight")
    return own


def for_topology(config: TrainConfig, topology: str) -> TrainConfig:
    """The experiment on XLA devices, as many as the cores of `topology`.

    Raises UsageError for batches that the cores do not divide, and for an ensemble whose members have different steps.
    """
    for name in STEPS_DIFFER:
        if given := getattr(config.ensemble, name):
            raise UsageError(
                f"ensemble.{name}={given}: a pre-flight is of one step; allowed are members that differ in seed and "
                "weights alone"
            )
    cores = Topology(topology).cores
    runtime = replace(config.runtime, name="xla", devices=cores, threads=None, compile=False)
    config = replace(config, runtime=runtime)
    check_ensemble(config)
    try:
        check_batch_sizes(config)
    except UsageError as error:
        raise UsageError(f"{error} with topology={topology}") from error
    return config


def checked_track(composed: DictConfig) -> TrackConfig:
    """The configuration of a replay as dataclasses, every value checked. Raises UsageError."""
    for name in ("ckpt", "logger"):
        if OmegaConf.is_missing(composed, name):
            raise UsageError(f"{name}: a value is missing; write ckpt=RUN_FOLDER logger=NAME ({', '.join(TRACKERS)})")
    config = as_dataclass(TrackConfig, composed)
    config.logger = _checked_trackers(config.logger)
    if not config.logger:
        raise UsageError(f"logger=[]: allowed are {', '.join(TRACKERS)}")
    return config


def _checked_trackers(logger: Any) -> list[str]:
    """The names of the trackers. Raises UsageError for one whose package is not installed."""
    names = list(dict.fromkeys(logger if isinstance(logger, list) else [logger] if logger is not None else []))
    for name in names:
        check_installed(name, f"logger={name}", extra=name)
    return names


def checked_benchmark(composed: DictConfig) -> BenchmarkConfig:
    """The configuration of a benchmark as dataclasses, every value checked. Raises UsageError."""
    config = as_dataclass(BenchmarkConfig, composed)
    check_augmentation(config.augmentation)
    name = resolved_runtime(config.runtime.name)
    if name in XLA_NAMES:
        raise UsageError(f"runtime={name}: allowed are auto, cpu, cuda; XLA has rows of its own, {', '.join(XLA_ROWS)}")
    check_runtime(config.runtime)
    for field, usual in (
        ("pretrained", False),
        ("weights", None),
        ("freeze_ratio", 0),
        ("freeze_batch_norm", False),
        ("cosine_scale", None),
        ("class_factors", False),
    ):
        value = getattr(config.model, field)
        if value != usual:
            raise UsageError(f"model.{field}={value}: not supported by all rows of the benchmark; leave it out")
    if not config.rows:
        raise UsageError(f"rows=[]: choose from {', '.join(BENCHMARK_ROWS)}")
    if config.keras_python is not None and not os.access(expanded(config.keras_python, "keras_python"), os.X_OK):
        raise UsageError(f"keras_python={config.keras_python}: there is no such program; {MAKE_KERAS_PYTHON}")
    return config


def check_sweep_in_one_process(runtimes: Iterable[Runtime]) -> None:
    """Raises UsageError if jobs that one process runs in turn use XLA's devices in different ways."""
    requested = sorted({(resolved_runtime(runtime.name), str(runtime.devices)) for runtime in runtimes})
    if len(requested) > 1 and any(name in XLA_NAMES for name, _ in requested):
        listed = ", ".join(f"{name} with devices={devices}" for name, devices in requested)
        raise UsageError(
            f"runtime: this sweep has {listed}; XLA claims its devices once per process, allowed is one of them"
        )


def _check_output(output: str, file: str) -> None:
    if Path(output, file).exists():
        raise UsageError(f"output={output}: has {file} already; choose another folder, or remove it")
