"""Which values a configuration may have, and which combinations. Values are checked here and nowhere else.

Checks that need the images, the model or the device are made later, by the modules that own them; nothing here imports
anything heavy, so that a mistake is reported at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.configuration.effects import (
    check_effects,
    check_evaluation_effects,
    labels_count_nothing,
    models_run,
    settle_choices,
)
from cifar_imbalance.configuration.fields import (
    BENCHMARK_ROWS,
    LEVEL_CONTROLLERS,
    OBJECTIVES,
    OPERATORS,
    TRACKERS,
    WEIGHT_CONTROLLERS,
    XLA_ROWS,
    Adjust,
    Augmentation,
    BenchmarkConfig,
    EvaluateConfig,
    ExportConfig,
    FiguresConfig,
    FourPhases,
    PredictConfig,
    Preflighting,
    Runtime,
    Searching,
    TrackConfig,
    TrainConfig,
)
from cifar_imbalance.configuration.hardware import (
    INSTALL_XLA,
    TPU_LIBRARY,
    XLA_NAMES,
    resolved_runtime,
    tpu_is_attached,
    xla_is_installed,
)
from cifar_imbalance.configuration.image_folder import SPLITS, has_splits, unread_splits
from cifar_imbalance.configuration.installed import check_installed
from cifar_imbalance.configuration.schema import as_dataclass, field_paths, leaves, unknown_field
from cifar_imbalance.configuration.tpus import TOPOLOGIES, Topology
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.configuration.values import LARGEST_SEED, WEIGHT_SUFFIXES
from cifar_imbalance.errors import UsageError

MAKE_KERAS_PYTHON = (
    "python3 -m venv keras && keras/bin/pip install tensorflow-cpu makes one, then keras_python=keras/bin/python"
)
PRIOR_IN_LOSS = ("balanced_softmax", "logit_adjustment")
ALREADY_CORRECTED = {  # losses that take no class weights, and why
    **dict.fromkeys(PRIOR_IN_LOSS, "has the classes' frequencies in its logits already"),
    "gml": "counts the classes of a batch equally already",
}
# What a run has and a pre-flight has not: it trains nothing, and chooses its device itself.
NOT_IN_PREFLIGHT = (
    *("resume", "logger", "plots", "open", "checkpoint", "ensemble.workers", "ensemble.combine"),
    *("runtime.name", "runtime.devices", "runtime.threads", "runtime.compile"),
)
STEPS_DIFFER = ("models", "augmentations", "folds")  # of an ensemble: its members' steps are not one
OTHER_IMAGES = "images=FOLDER evaluates a run on other test images"
_FACTORS = ("contrast", "saturation", "brightness")


def checked_train(composed: DictConfig, typed: Iterable[str] = ()) -> TrainConfig:
    """The configuration of a training run as dataclasses, every value checked.

    `typed` are the fields given on the command line. Raises UsageError.
    """
    config = as_dataclass(TrainConfig, composed)
    settle_choices(config, typed)
    check_effects(config, typed)
    check_augmentation(config.augmentation)
    _check_schedule(config)
    _check_corrections(config)
    _check_controller(config)
    _check_teacher(config)
    _check_head(config)
    _check_optimizer(config)
    _check_runtime(config.runtime)
    _check_batch_sizes(config)
    _check_dataset(config)
    _check_ensemble(config)
    config.logger = _checked_trackers(config.logger)
    if config.resume is None:  # a resumed run has its weights in its folder
        _check_weights("model.weights", config.model.weights)
        for file in config.ensemble.weights:
            _check_weights("ensemble.weights", file)
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
        _check_runtime(config.runtime)
        _check_batch_sizes(config)
        if config.images is not None:
            _check_cache(config.dataset.cache_dir)
        else:
            try:
                _check_dataset(config)
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
    _check_dataset(config)
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
    _check_runtime(config.runtime)
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
    _check_ensemble(config)
    try:
        _check_batch_sizes(config)
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
    _check_runtime(config.runtime)
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


def check_augmentation(augmentation: Augmentation) -> None:
    if len(set(augmentation.order)) < len(augmentation.order):
        raise UsageError(f"augmentation.order={augmentation.order}: each operator may appear only once")
    for name in OPERATORS:
        if getattr(augmentation, name) is not None and name not in augmentation.order:
            raise UsageError(f"augmentation.order={augmentation.order}: {name} is enabled but missing from it")
    if augmentation.color_jitter is not None:
        for name in _FACTORS:
            factors = getattr(augmentation.color_jitter, name)
            if len(factors) != 2 or factors[0] > factors[1]:
                raise UsageError(f"augmentation.color_jitter.{name}={factors}: [LOW, HIGH] with 0 <= LOW <= HIGH")


def _check_schedule(config: TrainConfig) -> None:
    schedule, epochs = config.schedule, config.training.epochs
    if schedule.min_lr > schedule.max_lr:
        raise UsageError(f"schedule.min_lr={schedule.min_lr}: at most schedule.max_lr, which is {schedule.max_lr}")
    if schedule.four_phases is not None:
        _check_phases(schedule.four_phases, epochs)
    if schedule.step is not None:
        milestones = schedule.step.milestones
        if not milestones or milestones != sorted(set(milestones)):
            raise UsageError(f"schedule.step.milestones={milestones}: rising shares of the run's epochs, at least one")
        if milestones[0] < schedule.warmup_fraction:
            raise UsageError(
                f"schedule.step.milestones={milestones}: the first lies within the warm-up, "
                f"schedule.warmup_fraction={schedule.warmup_fraction}"
            )


def _check_phases(phases: FourPhases, epochs: int) -> None:
    names = ("burnin_epochs", "warmup_epochs", "flat_epochs", "cooldown_epochs")
    lengths = [getattr(phases, name) for name in names]
    if sum(lengths) != epochs:
        listed = " + ".join(f"{name} {length}" for name, length in zip(names, lengths, strict=True))
        raise UsageError(f"training.epochs={epochs}: allowed is {sum(lengths)}, the length of the schedule: {listed}")


def _check_corrections(config: TrainConfig) -> None:
    """Raises UsageError for what corrects for the classes' frequencies once more than a loss that does so in full."""
    loss = config.loss.name
    if loss in ALREADY_CORRECTED:
        for name, usual in (("class_weights", "none"), ("sampler", "instance")):
            if (chosen := getattr(config, name).name) != usual and (name, loss) != ("sampler", "gml"):
                reason = f"corrects twice, since loss={loss} {ALREADY_CORRECTED[loss]}"
                raise UsageError(f"{name}={chosen}: {reason}; allowed is {name}={usual}")
    if loss == "gml" and config.mixing.name != "none":
        raise UsageError(f"mixing={config.mixing.name}: loss=gml is of images of one class; allowed is mixing=none")
    if config.loss.name == "ldam" and config.model.cosine_scale is None:
        raise UsageError("loss=ldam: its margins are of cosines; add model.cosine_scale=30")
    scale = config.model.cosine_scale
    if config.loss.ldam is not None and scale is not None and (margin := config.loss.ldam.max_margin) > scale:
        raise UsageError(
            f"loss.ldam.max_margin={margin}: more than a cosine of 1, which model.cosine_scale={scale} makes {scale}; "
            f"half a cosine is {scale / 2:g}"
        )


def _check_controller(config: TrainConfig) -> None:
    name, validation = config.controller.name, config.dataset.validation
    if name in LEVEL_CONTROLLERS and config.augmentation.cuda is None:
        raise UsageError(f"controller={name}: sets the levels of augmentation=cuda, which is not enabled; add it")
    if name not in LEVEL_CONTROLLERS and config.augmentation.cuda is not None:
        choices = ", ".join(LEVEL_CONTROLLERS)
        raise UsageError(f"augmentation=cuda: its levels come from a controller, not {name}; allowed are {choices}")
    if name not in ("constant", "cuda") and validation != "holdout":
        raise UsageError(
            f"controller={name}: is driven by validation images, which needs dataset.validation=holdout, "
            f"not {validation}"
        )
    if name in WEIGHT_CONTROLLERS and config.loss.name == "gml":
        raise UsageError(f"controller={name}: sets class weights, which loss=gml does not take; leave one out")


def _check_teacher(config: TrainConfig) -> None:
    if config.teacher is None:
        return
    if config.mixing.name != "none":
        raise UsageError(f"mixing={config.mixing.name}: the teacher's logits are of single images; leave out teacher=")
    if config.loss.name == "gml":
        raise UsageError("loss=gml: is of a batch, the teacher's part of single images; leave out teacher=")
    if config.loss.name != "cross_entropy" and labels_count_nothing(config.distillation):
        raise UsageError(
            f"loss={config.loss.name}: has no effect: all of the loss is the teacher's "
            "(distillation.hard_share=0, distillation.trust=all)"
        )


def _check_head(config: TrainConfig) -> None:
    if config.model.class_factors:
        of_what = "class_factors=True: the factors are of the linear head of start=RUN"
        if config.start is None:
            raise UsageError(f"model.{of_what}; add start=RUN")
        if config.fresh_head:
            raise UsageError(f"model.{of_what}; leave out fresh_head=true")
        if config.model.cosine_scale is not None:
            raise UsageError(f"model.{of_what}, not of one of cosines (model.cosine_scale)")
    if config.training.head_max_norm is not None:
        for field, value, usual in (
            ("model.cosine_scale", config.model.cosine_scale, None),
            ("model.class_factors", config.model.class_factors, False),
            ("training.ema_decay", config.training.ema_decay, None),
        ):
            if value != usual:
                raise UsageError(
                    f"training.head_max_norm={config.training.head_max_norm}: not with {field}={value}; leave one out"
                )


def needs_validation(adjust: Adjust | DictConfig) -> bool:
    """Whether an adjustment is fitted on validation images: all are but those whose tau is given."""
    settings = getattr(adjust, adjust.name, None)
    return adjust.name != "none" and getattr(settings, "tau", None) is None


def _check_optimizer(config: TrainConfig) -> None:
    for name in ("adam", "adamw"):
        block = getattr(config.optimizer, name)
        if block is not None and len(block.betas) != 2:
            raise UsageError(f"optimizer.{name}.betas={block.betas}: two numbers, each at least 0 and less than 1")
    if config.optimizer.sgd is not None and config.optimizer.sgd.nesterov and config.optimizer.sgd.momentum == 0:
        raise UsageError("optimizer.sgd.nesterov=True: needs optimizer.sgd.momentum above 0")


def check_sweep_in_one_process(runtimes: Iterable[Runtime]) -> None:
    """Raises UsageError if jobs that one process runs in turn use XLA's devices in different ways."""
    requested = sorted({(resolved_runtime(runtime.name), str(runtime.devices)) for runtime in runtimes})
    if len(requested) > 1 and any(name in XLA_NAMES for name, _ in requested):
        listed = ", ".join(f"{name} with devices={devices}" for name, devices in requested)
        raise UsageError(
            f"runtime: this sweep has {listed}; XLA claims its devices once per process, allowed is one of them"
        )


def _check_runtime(runtime: Runtime) -> None:
    name = resolved_runtime(runtime.name)
    if name in XLA_NAMES and not xla_is_installed():
        install = f"{INSTALL_XLA} {TPU_LIBRARY}" if name == "tpu" else INSTALL_XLA
        raise UsageError(f"runtime={name}: torch_xla is not installed; {install} installs it, or use runtime=cpu")
    if name == "tpu" and not tpu_is_attached():
        raise UsageError(
            f"runtime=tpu: no TPU was found on this machine; on one that has a TPU, pip install {TPU_LIBRARY} "
            "installs its driver; here use runtime=auto, cpu, cuda or xla"
        )
    if (runtime.threads or 0) > (os.cpu_count() or 1):
        raise UsageError(
            f"runtime.threads={runtime.threads}: allowed is at most {os.cpu_count()}, this machine's cores"
        )
    if runtime.devices is not None and name not in XLA_NAMES:
        raise UsageError(f"runtime.devices={runtime.devices}: only with runtime=xla or runtime=tpu")


def _check_batch_sizes(config: TrainConfig | EvaluateConfig) -> None:
    """As far as the configuration alone allows; called again by the engine, with the actual devices and images."""
    for path, value in leaves(config.training, "training."):
        if path.endswith("batch_size"):
            check_batch_size(path, value, devices=config.runtime.devices or 1)


def check_batch_size(path: str, value: int, *, devices: int, images: int | None = None) -> None:
    """Raises UsageError for a batch not divisible by `devices` or larger than the number of training `images`."""
    if value % devices:
        raise UsageError(f"{path}={value}: a multiple of the number of devices is expected, which is {devices}")
    if images is not None and value > images:
        raise UsageError(f"{path}={value}: there are only {images} training images, allowed is 2 to {images}")


def _check_ensemble(config: TrainConfig) -> None:
    ensemble = config.ensemble
    for name in ("models", "weights", "augmentations"):
        given = len(getattr(ensemble, name))
        if given not in (0, ensemble.members):
            raise UsageError(
                f"ensemble.{name}: {given} entries for ensemble.members={ensemble.members}; one per member, or []"
            )
    if ensemble.members == 1 and (ensemble.models or ensemble.weights or ensemble.augmentations):
        raise UsageError("ensemble.members=1: a single model; ensemble.models, .weights, .augmentations need more")
    enabled = [name for name in OPERATORS if getattr(config.augmentation, name) is not None]
    for operator in [operator for operators in ensemble.augmentations for operator in operators]:
        if operator not in enabled:
            hint = f"allowed are enabled operators: {', '.join(enabled) or 'there are none'}"
            raise UsageError(f"ensemble.augmentations: {operator}; {hint}; enable it with augmentation=[{operator}]")
    if ensemble.folds and (ensemble.members == 1 or config.dataset.folds is not None):
        raise UsageError("ensemble.folds=True: needs ensemble.members above 1, and dataset.folds=null")
    if ensemble.combine == "weighted" and config.dataset.validation != "holdout":
        raise UsageError(
            f"ensemble.combine=weighted: the weights are fitted on the validation images, which needs "
            f"dataset.validation=holdout, not {config.dataset.validation}"
        )
    largest = (LARGEST_SEED + 1) // ensemble.members - 1
    if config.seed > largest:
        raise UsageError(f"seed={config.seed}: with ensemble.members={ensemble.members} at most {largest}")
    if ensemble.workers != "auto" and not (ensemble.workers.isdecimal() and int(ensemble.workers) > 0):
        raise UsageError(f"ensemble.workers={ensemble.workers}: allowed are auto and numbers of at least 1")
    if ensemble.workers != "auto" and int(ensemble.workers) > ensemble.members:
        raise UsageError(f"ensemble.workers={ensemble.workers}: at most ensemble.members, which is {ensemble.members}")
    on_cpu = resolved_runtime(config.runtime.name) in ("auto", "cpu")
    if ensemble.members > 1 and ensemble.together == "workers" and not on_cpu:
        raise UsageError(
            f"ensemble.together=workers: processes share a CPU alone; with runtime={config.runtime.name} allowed are "
            "one_by_one, stacked"
        )
    for name in STEPS_DIFFER:
        if ensemble.together == "stacked" and (given := getattr(ensemble, name)):
            raise UsageError(
                f"ensemble.together=stacked: the members are one step, so they differ in seed and weights alone; "
                f"ensemble.{name}={given} allows workers, one_by_one"
            )


def _check_dataset(config: TrainConfig | EvaluateConfig | FiguresConfig) -> None:
    dataset = config.dataset
    if dataset.name == "image_folder":
        if dataset.root is None:
            raise UsageError(
                "dataset.root: image_folder needs a folder with CLASS/IMAGE in it, or train/CLASS/IMAGE and "
                "test/CLASS/IMAGE; write dataset.root=FOLDER"
            )
        root = expanded(dataset.root, "dataset.root")
        if not root.is_dir():
            raise UsageError(f"dataset.root={dataset.root}: there is no such folder")
        for part in SPLITS if has_splits(root) else ():
            if not (root / part).is_dir():
                others = f"; not read: {', '.join(found)}" if (found := unread_splits(root)) else ""
                raise UsageError(
                    f"dataset.root={dataset.root}: it has no folder {part}/ ({part}/CLASS/IMAGE is expected{others})"
                )
    elif dataset.root is not None and dataset.name != "digits" and not expanded(dataset.root, "dataset.root").is_dir():
        raise UsageError(
            f"dataset.root={dataset.root}: there is no such folder; leave it out to download {dataset.name}"
        )
    if dataset.name != "digits":
        _check_cache(dataset.cache_dir)
    if (dataset.folds is None) != (dataset.without_fold is None):
        raise UsageError("dataset.folds, dataset.without_fold: one needs the other")
    if dataset.folds is not None and dataset.without_fold is not None and dataset.without_fold >= dataset.folds:
        raise UsageError(f"dataset.without_fold={dataset.without_fold}: allowed is 0 to {dataset.folds - 1}")
    if dataset.name == "digits" and dataset.root is not None:
        raise UsageError(f"dataset.root={dataset.root}: digits are part of scikit-learn and have no folder")
    if dataset.imbalance.profile != "none" and dataset.imbalance.factor == 1:
        raise UsageError(f"dataset.imbalance.factor=1.0: {dataset.imbalance.profile} needs a factor above 1")


def _check_output(output: str, file: str) -> None:
    if Path(output, file).exists():
        raise UsageError(f"output={output}: has {file} already; choose another folder, or remove it")


def _check_cache(cache_dir: str) -> None:
    cache = expanded(cache_dir, "dataset.cache_dir").absolute()
    if not next(place for place in (cache, *cache.parents) if place.exists()).is_dir():
        raise UsageError(f"dataset.cache_dir={cache_dir}: a file is where this folder should be")


def _check_weights(path: str, value: str | None) -> None:
    if value is None:
        return
    file = expanded(value, path)
    if not file.is_file():
        raise UsageError(f"{path}={value}: there is no such file")
    if file.suffix not in WEIGHT_SUFFIXES:
        raise UsageError(f"{path}={value}: allowed are files that end in {', '.join(WEIGHT_SUFFIXES)}")
