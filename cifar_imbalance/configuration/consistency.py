"""Whether the fields of a configuration fit each other, part by part."""

from __future__ import annotations

import os

from omegaconf import DictConfig

from cifar_imbalance.configuration.effects import labels_count_nothing
from cifar_imbalance.configuration.fields import (
    LEVEL_CONTROLLERS,
    OPERATORS,
    WEIGHT_CONTROLLERS,
    Adjust,
    Augmentation,
    EvaluateConfig,
    FiguresConfig,
    FourPhases,
    Runtime,
    TrainConfig,
)
from cifar_imbalance.configuration.hardware import (
    INSTALL_XLA,
    TPU_LIBRARY,
    XLA_NAMES,
    resolved_runtime,
    tpu_is_attached,
    tpu_library_is_installed,
    xla_is_installed,
)
from cifar_imbalance.configuration.image_folder import SPLITS, has_splits, unread_splits
from cifar_imbalance.configuration.schema import leaves
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.configuration.values import LARGEST_SEED, WEIGHT_SUFFIXES
from cifar_imbalance.errors import UsageError

PRIOR_IN_LOSS = ("balanced_softmax", "logit_adjustment")
ALREADY_CORRECTED = {  # losses that take no class weights, and why
    **dict.fromkeys(PRIOR_IN_LOSS, "has the classes' frequencies in its logits already"),
    "gml": "counts the classes of a batch equally already",
}
STEPS_DIFFER = ("models", "augmentations", "folds")  # of an ensemble: its members' steps are not one
_FACTORS = ("contrast", "saturation", "brightness")


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


def check_schedule(config: TrainConfig) -> None:
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


def check_corrections(config: TrainConfig) -> None:
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


def check_controller(config: TrainConfig) -> None:
    name, validation = config.controller.name, config.dataset.validation
    if name in LEVEL_CONTROLLERS and config.augmentation.cuda is None:
        raise UsageError(f"controller={name}: sets the levels of augmentation=cuda, which is not enabled; add it")
    if name not in LEVEL_CONTROLLERS and config.augmentation.cuda is not None:
        choices = ", ".join(LEVEL_CONTROLLERS)
        raise UsageError(f"augmentation=cuda: its levels come from a controller, not {name}; allowed are {choices}")
    if name not in ("constant", "cuda", "constant_level") and validation != "holdout":
        raise UsageError(
            f"controller={name}: is driven by validation images, which needs dataset.validation=holdout, "
            f"not {validation}"
        )
    if name in WEIGHT_CONTROLLERS and config.loss.name == "gml":
        raise UsageError(f"controller={name}: sets class weights, which loss=gml does not take; leave one out")


def check_teacher(config: TrainConfig) -> None:
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


def check_head(config: TrainConfig) -> None:
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


def check_optimizer(config: TrainConfig) -> None:
    for name in ("adam", "adamw"):
        block = getattr(config.optimizer, name)
        if block is not None and len(block.betas) != 2:
            raise UsageError(f"optimizer.{name}.betas={block.betas}: two numbers, each at least 0 and less than 1")
    if config.optimizer.sgd is not None and config.optimizer.sgd.nesterov and config.optimizer.sgd.momentum == 0:
        raise UsageError("optimizer.sgd.nesterov=True: needs optimizer.sgd.momentum above 0")


def check_runtime(runtime: Runtime) -> None:
    name = resolved_runtime(runtime.name)
    if name in XLA_NAMES and not xla_is_installed():
        install = f"{INSTALL_XLA} {TPU_LIBRARY}" if name == "tpu" else INSTALL_XLA
        raise UsageError(f"runtime={name}: torch_xla is not installed; {install} installs it, or use runtime=cpu")
    if name == "tpu" and not tpu_is_attached():
        raise UsageError("runtime=tpu: no TPU was found on this machine; here use runtime=auto, cpu, cuda or xla")
    if name == "tpu" and not tpu_library_is_installed():
        raise UsageError(f"runtime=tpu: libtpu, its driver, is not installed; pip install {TPU_LIBRARY} installs it")
    if (runtime.threads or 0) > (os.cpu_count() or 1):
        raise UsageError(
            f"runtime.threads={runtime.threads}: allowed is at most {os.cpu_count()}, this machine's cores"
        )
    if runtime.devices is not None and name not in XLA_NAMES:
        raise UsageError(f"runtime.devices={runtime.devices}: only with runtime=xla or runtime=tpu")


def check_batch_sizes(config: TrainConfig | EvaluateConfig) -> None:
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


def check_ensemble(config: TrainConfig) -> None:
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


def check_dataset(config: TrainConfig | EvaluateConfig | FiguresConfig) -> None:
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
        check_cache(dataset.cache_dir)
    if (dataset.folds is None) != (dataset.without_fold is None):
        raise UsageError("dataset.folds, dataset.without_fold: one needs the other")
    if dataset.folds is not None and dataset.without_fold is not None and dataset.without_fold >= dataset.folds:
        raise UsageError(f"dataset.without_fold={dataset.without_fold}: allowed is 0 to {dataset.folds - 1}")
    if dataset.name == "digits" and dataset.root is not None:
        raise UsageError(f"dataset.root={dataset.root}: digits are part of scikit-learn and have no folder")
    if dataset.imbalance.profile != "none" and dataset.imbalance.factor == 1:
        raise UsageError(f"dataset.imbalance.factor=1.0: {dataset.imbalance.profile} needs a factor above 1")


def check_cache(cache_dir: str) -> None:
    cache = expanded(cache_dir, "dataset.cache_dir").absolute()
    if not next(place for place in (cache, *cache.parents) if place.exists()).is_dir():
        raise UsageError(f"dataset.cache_dir={cache_dir}: a file is where this folder should be")


def check_weights(path: str, value: str | None) -> None:
    if value is None:
        return
    file = expanded(value, path)
    if not file.is_file():
        raise UsageError(f"{path}={value}: there is no such file")
    if file.suffix not in WEIGHT_SUFFIXES:
        raise UsageError(f"{path}={value}: allowed are files that end in {', '.join(WEIGHT_SUFFIXES)}")
