"""Fields that have no effect in a configuration, and why.

On the command line such a field is an error. Where an experiment or another run set it, it is reset to its default, so
that a run's config.yaml has nothing that does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cifar_imbalance.configuration.fields import (
    WEIGHT_CONTROLLERS,
    Dataset,
    Distillation,
    EvaluateConfig,
    FiguresConfig,
    Plots,
    Runtime,
    TrainConfig,
)
from cifar_imbalance.configuration.hardware import XLA_NAMES, resolved_runtime
from cifar_imbalance.configuration.image_folder import has_splits
from cifar_imbalance.configuration.schema import choice_blocks, leaves
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import UsageError

# Their defaults mean that there is none of it: that may be said even where there can be none.
NONE_OF_IT = {
    "schedule.min_lr": 0,
    "class_weights.defer": 0,
    "sampler.defer": 0,
    "loss.label_smoothing": 0,
    "mixing.until": 1,
    "schedule.warmup_fraction": 0,
    "dataset.imbalance.factor": 1,
    "model.pretrained": False,
    "fresh_head": False,
    "deterministic": False,
    "runtime.compile": False,
}

# The fields of an evaluation of saved logits.
OF_SAVED_LOGITS = (
    "ckpt",
    "split",
    "images",
    "views",
    "view_weights",
    "reference",
    "ensemble.combine",
    "adjust",
    "test_prior",
    "auroc",
    "open",
    "plots",
)
# Where the models of what is combined run on the images again.
OF_MODELS = ("runtime", "training.eval_batch_size", "dataset.root", "dataset.cache_dir")
# What an evaluation of a file of weights does not use.
OF_TRAINING = (
    "seed",
    *(f"model.{name}" for name in ("pretrained", "weights", "head_init", "drop_rate", "drop_path_rate")),
    *(f"model.{name}" for name in ("freeze_ratio", "freeze_batch_norm")),
)
# What only chooses other images than the test images.
OF_OTHER_SPLITS = (
    *(f"dataset.{name}" for name in ("holdout_fraction", "holdout_balance", "split_seed")),
    *(f"dataset.{name}" for name in ("folds", "without_fold", "imbalance")),
)


def settle_choices(config: Any, typed: Iterable[str]) -> None:
    """Keep only the block of each group's choice: those of other choices become None.

    Raises UsageError if another choice's block was given on the command line.
    """
    typed = list(typed)
    for group, names in choice_blocks(config.__class__).items():
        settings = getattr(config, group)
        for name in names:
            path, block = f"{group}.{name}", getattr(settings, name)
            if name == settings.name:
                if block is None and path in typed:
                    raise UsageError(f"{path}=null: the settings of {group}={name} are a block of fields")
                setattr(settings, name, getattr(type(settings)(), name) if block is None else block)
                continue
            for field, value in leaves(block, f"{path}.") if block is not None else ():
                if _is_typed(field, typed):
                    raise UsageError(f"{field}={_text(value)}: only with {group}={name}, here it is {settings.name}")
            setattr(settings, name, None)


def check_effects(config: TrainConfig | FiguresConfig, typed: Iterable[str]) -> None:
    """Reset the fields that have no effect in this configuration. Raises UsageError for one that was typed."""
    typed = list(typed)
    values = dict(leaves(config))
    for path, reason in _without_effect(config):
        if _is_typed(path, typed) and not (path in NONE_OF_IT and values[path] == NONE_OF_IT[path]):
            raise UsageError(f"{path}={_text(values[path])}: has no effect: {reason}")
        if path != "model.name":  # which has no default
            _reset(config, path)


def check_evaluation_effects(
    config: EvaluateConfig, typed: Iterable[str], *, of_saved_logits: bool, of_weights: bool
) -> None:
    """Raises UsageError for a field on the command line that has no effect in this evaluation."""
    typed = list(typed)
    values = dict(leaves(config))
    if of_saved_logits:
        allowed = (*OF_SAVED_LOGITS, *OF_MODELS) if models_run(config) else OF_SAVED_LOGITS
        for key in typed:
            if not any(key == one or key.startswith(f"{one}.") for one in (*allowed, "hydra")):
                raise UsageError(
                    f"{key}: has no effect where saved logits are combined; allowed are {', '.join(allowed)}"
                )
    reasons = {} if of_saved_logits and not models_run(config) else dict(_of_runtime(config.runtime))
    if not of_saved_logits or (not isinstance(config.ckpt, str) and len(config.ckpt) == 1):
        reasons["ensemble.combine"] = "only one model is evaluated; combine several with ckpt=[A,B]"
    reasons |= dict(_of_plots(config.plots))
    if config.views == "none":
        reasons["view_weights"] = "views=none is one view"
    if config.test_prior.profile == "none":
        reasons |= dict.fromkeys(("test_prior.factor", "test_prior.seed"), "test_prior.profile=none keeps all images")
    if config.split == "train":
        reasons["test_prior"] = "split=train, and it is of test or validation images"
    if config.images is not None:
        reasons["dataset.root"] = "the images are those of images=, and the run's own are not read"
    if of_weights:
        reasons |= dict(_of_test_images(config.dataset))
        reasons |= dict.fromkeys(OF_TRAINING, "a file of weights is evaluated as it is")
        if config.split == "test":
            reasons |= dict.fromkeys(OF_OTHER_SPLITS, "the test images are all evaluated (split=test)")
    for path, reason in reasons.items():
        for key in typed:
            if key == path or key.startswith(f"{path}.") or ("." in key and path.startswith(f"{key}.")):
                value = f"={_text(values[key])}" if key in values else ""
                raise UsageError(f"{key}{value}: has no effect: {reason}")


def models_run(config: Any) -> bool:
    """Whether a combination needs more logits than runs save: those of views, of training images, of other images."""
    return config.views != "none" or config.split == "train" or config.images is not None


def labels_count_nothing(distillation: Distillation) -> bool:
    """Whether all of the loss is the teacher's."""
    return distillation.hard_share == 0 and distillation.trust == "all"


def _reset(config: Any, path: str) -> None:
    """Give the field at a dotted `path` its default."""
    *blocks, name = path.split(".")
    for block in blocks:
        config = getattr(config, block)
    setattr(config, name, getattr(type(config)(), name))


def _is_typed(path: str, typed: Iterable[str]) -> bool:
    """Whether a field was given on the command line, by itself or in a block; a group's choice does not count."""
    return any(path == key or ("." in key and path.startswith(f"{key}.")) for key in typed)


def _without_effect(config: TrainConfig | FiguresConfig) -> Iterator[tuple[str, str]]:
    """The dotted path of each field without effect, and why it has none."""
    if isinstance(config, FiguresConfig):
        yield from _of_dataset(config.dataset, folds=False)
        yield from _of_plots(config.plots)
        return
    yield from _of_dataset(config.dataset, folds=config.ensemble.folds)
    yield from _of_optimisation(config)
    yield from _of_methods(config)
    yield from _of_augmentation(config)
    yield from _of_reporting(config)
    yield from _of_plots(config.plots)
    yield from _of_weights(config)
    yield from _of_runtime(config.runtime)


def divides_itself(dataset: Dataset) -> bool:
    """Whether a share of the images becomes the test images, since the folder has none."""
    if dataset.name != "image_folder" or dataset.root is None:
        return False
    return not has_splits(expanded(dataset.root, "dataset.root"))


def _of_test_images(dataset: Dataset) -> Iterator[tuple[str, str]]:
    if not divides_itself(dataset):
        where = f"dataset={dataset.name}" if dataset.name != "image_folder" else f"dataset.root={dataset.root}"
        for field in ("test_fraction", "test_seed"):
            yield f"dataset.{field}", f"{where} has test images of its own"


def _of_dataset(dataset: Dataset, *, folds: bool) -> Iterator[tuple[str, str]]:
    yield from _of_test_images(dataset)
    if dataset.validation != "holdout":
        for field in ("holdout_fraction", "holdout_balance"):
            yield f"dataset.{field}", f"dataset.validation={dataset.validation} holds out none of the training images"
        if dataset.folds is None and not folds:
            yield "dataset.split_seed", "the training images are neither split nor divided into folds"
    if dataset.imbalance.profile == "none":
        for field in ("factor", "subset_seed"):
            yield f"dataset.imbalance.{field}", "dataset.imbalance.profile=none; allowed are exponential, step"


def _of_optimisation(config: TrainConfig) -> Iterator[tuple[str, str]]:
    schedule = config.schedule
    if schedule.name == "constant":
        yield "schedule.min_lr", "schedule=constant has one rate, schedule.max_lr"
        yield "schedule.warmup_fraction", "schedule=constant has no warm-up; allowed is 0"
    if schedule.name == "step" and schedule.warmup_fraction == 0:
        yield "schedule.min_lr", "schedule=step without a warm-up ends above it"
    if schedule.four_phases is not None:
        yield "schedule.warmup_fraction", "the warm-up is schedule.four_phases.warmup_epochs; allowed is 0"
        if schedule.four_phases.burnin_epochs == 0:
            yield "schedule.four_phases.burnin_lr", "schedule.four_phases.burnin_epochs=0"
    if config.optimizer.weight_decay == 0:
        yield "optimizer.decay_norm_and_bias", "optimizer.weight_decay=0 decays nothing"


def _of_methods(config: TrainConfig) -> Iterator[tuple[str, str]]:
    if config.class_weights.name == "none" and config.controller.name not in WEIGHT_CONTROLLERS:
        yield "class_weights.defer", "class_weights=none has none; allowed is 0"
    if config.loss.name == "gml":
        yield "loss.label_smoothing", "loss=gml has no smoothed form; allowed is 0"
    if config.sampler.name == "instance":
        yield "sampler.defer", "sampler=instance is what a deferred sampler begins with; allowed is 0"
    if config.mixing.name == "none":
        yield "mixing.until", "mixing=none mixes nothing; allowed is 1"
    if config.teacher is None:
        for field in ("temperature", "hard_share", "trust"):
            yield f"distillation.{field}", "there is no teacher; teacher=RUN names one"
        yield "teacher_sha256", "it is filled in with teacher=RUN"
    elif labels_count_nothing(config.distillation):
        yield "loss.label_smoothing", "the labels have no share of the loss (distillation.hard_share=0); allowed is 0"
    if config.model.cosine_scale is not None:
        yield "model.head_init", "a head of cosines (model.cosine_scale) has an initialisation of its own"


def _of_augmentation(config: TrainConfig) -> Iterator[tuple[str, str]]:
    for name in ("rotation", "shift"):
        operator = getattr(config.augmentation, name)
        if operator is not None and operator.border == "reflect":
            yield f"augmentation.{name}.fill", f"augmentation.{name}.border=reflect fills with the mirrored image"


def _of_reporting(config: TrainConfig) -> Iterator[tuple[str, str]]:
    if config.checkpoint.choose == "last":
        yield "checkpoint.monitor", "checkpoint.choose=last reports the last epoch"
    elif config.dataset.validation == "none":
        for field in ("monitor", "choose"):
            yield f"checkpoint.{field}", "without validation images the last epoch is reported"
    if config.ensemble.members == 1:
        for field in ("combine", "together", "workers"):
            yield f"ensemble.{field}", "ensemble.members=1 is a single model"
    elif config.ensemble.together in ("one_by_one", "stacked"):
        yield "ensemble.workers", f"ensemble.together={config.ensemble.together} is one process"
    elif resolved_runtime(config.runtime.name) not in ("auto", "cpu"):
        yield "ensemble.workers", "on an accelerator members train one after another"


def _of_plots(plots: Plots) -> Iterator[tuple[str, str]]:
    if not plots.png:
        yield "plots.dpi", "plots.png=false saves no PNG files"


def _of_weights(config: TrainConfig) -> Iterator[tuple[str, str]]:
    if config.start is None:
        yield "start_sha256", "it is filled in with start=RUN"
        yield "fresh_head", "without start=RUN the head is new or loaded from model.weights"
    elif not config.fresh_head:
        yield "model.head_init", "the head is that of start=RUN; fresh_head=true makes it anew"
    if config.ensemble.weights:
        yield "model.weights", "ensemble.weights has those of each member"
    if config.model.weights is not None or config.ensemble.weights:
        yield "model.pretrained", "the weights come from a file"
    if config.ensemble.models:
        yield "model.name", "ensemble.models has those of the members"


def _of_runtime(runtime: Runtime) -> Iterator[tuple[str, str]]:
    name = resolved_runtime(runtime.name)
    if name in XLA_NAMES:
        yield "runtime.compile", f"runtime={name} always compiles"
        yield "runtime.threads", f"runtime={name} manages its own threads"
        yield "deterministic", f"runtime={name} has no such switch"


def _text(value: object) -> str:
    return "null" if value is None else str(value)
