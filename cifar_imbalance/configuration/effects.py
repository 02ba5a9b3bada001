"""Fields that have no effect in a configuration, and why.

A setting without effect is rejected if it was given on the command line, or if a YAML file sets it to another value
than its default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cifar_imbalance.configuration.fields import EvaluateConfig, TrainConfig
from cifar_imbalance.configuration.hardware import XLA_NAMES, resolved_runtime
from cifar_imbalance.configuration.schema import choice_blocks, leaves
from cifar_imbalance.errors import UsageError

# Fields that an experiment of conf/ sets: given with its default, such a field undoes that.
MAY_RESET = ("schedule.min_lr", "schedule.warmup_fraction", "dataset.imbalance.factor", "checkpoint.monitor")

# Fields that a choice's YAML or default may leave without effect: rejected only on the command line.
ONLY_IF_TYPED = ("optimizer.decay_norm_and_bias", "schedule.four_phases.burnin_lr")

# The fields of an evaluation of saved logits, which reads no image and runs no model.
OF_SAVED_LOGITS = ("ckpt", "split", "reference", "ensemble.combine")


def settle_choices(config: Any, typed: Iterable[str]) -> None:
    """Keep only the block of each group's choice: those of other choices become None.

    Raises UsageError if another choice's block was given on the command line or differs from its defaults.
    """
    typed = list(typed)
    for group, names in choice_blocks(type(config)).items():
        settings = getattr(config, group)
        for name in names:
            usual, block = getattr(type(settings)(), name), getattr(settings, name)
            if name == settings.name:
                setattr(settings, name, usual if block is None else block)
                continue
            for path, value in leaves(block, f"{group}.{name}.") if block is not None else ():
                if _is_typed(path, typed) or value != getattr(usual, path.rsplit(".", 1)[-1]):
                    raise UsageError(f"{path}={_text(value)}: only with {group}={name}, here it is {settings.name}")
            setattr(settings, name, None)


def check_effects(config: TrainConfig, typed: Iterable[str], *, inherited: bool) -> None:
    """Raises UsageError for a field that has no effect in this configuration.

    In a configuration `inherited` from another run, such a field is reset to its default unless it was typed.
    """
    typed = list(typed)
    reasons = _without_effect(config)
    if inherited:
        for path in [path for path in reasons if not _is_typed(path, typed)]:
            _reset(config, path)
            del reasons[path]
    _reject(config, reasons, typed)


def _reset(config: Any, path: str) -> None:
    """Give the field at a dotted `path` its default."""
    *blocks, name = path.split(".")
    for block in blocks:
        config = getattr(config, block)
    setattr(config, name, getattr(type(config)(), name))


def check_evaluation_effects(config: EvaluateConfig, typed: Iterable[str], *, of_saved_logits: bool) -> None:
    """Raises UsageError for a field on the command line that has no effect in this evaluation."""
    if not of_saved_logits:
        _reject(config, {"ensemble.combine": "only one model is evaluated; combine several with ckpt=[A,B]"}, typed)
        _reject(config, dict(_of_runtime(config)), typed)
        return
    for key in typed:
        if key not in OF_SAVED_LOGITS and not key.startswith("hydra"):
            raise UsageError(
                f"{key}: has no effect where saved logits are combined; allowed are {', '.join(OF_SAVED_LOGITS)}"
            )


def _reject(config: Any, reasons: dict[str, str], typed: Iterable[str]) -> None:
    typed = list(typed)
    usual, values = dict(leaves(type(config)())), dict(leaves(config))
    for path, reason in reasons.items():
        differs = values[path] != usual[path]
        # In an evaluation it is the run's own value.
        changed = differs and isinstance(config, TrainConfig) and path not in ONLY_IF_TYPED
        if changed or (_is_typed(path, typed) and (differs or path not in MAY_RESET)):
            raise UsageError(f"{path}={_text(values[path])}: has no effect: {reason}")


def _is_typed(path: str, typed: Iterable[str]) -> bool:
    """Whether a field was given on the command line, by itself or in a block; a group's choice does not count."""
    return any(path == key or ("." in key and path.startswith(f"{key}.")) for key in typed)


def _without_effect(config: TrainConfig) -> dict[str, str]:
    """Why fields have no effect, by dotted path."""
    parts = (_of_optimisation, _of_data, _of_ensemble, _of_runtime)
    return {path: reason for part in parts for path, reason in part(config)}


def _of_optimisation(config: TrainConfig) -> Iterator[tuple[str, str]]:
    name = config.schedule.name
    if name == "constant":
        yield "schedule.min_lr", "schedule=constant has one rate, schedule.max_lr"
        yield "schedule.warmup_fraction", "schedule=constant has no warm-up; allowed is 0"
    if name == "four_phases":
        yield "schedule.warmup_fraction", "the warm-up is schedule.four_phases.warmup_epochs; allowed is 0"
        if config.schedule.four_phases is not None and config.schedule.four_phases.burnin_epochs == 0:
            yield "schedule.four_phases.burnin_lr", "schedule.four_phases.burnin_epochs=0"
    if config.optimizer.weight_decay == 0:
        yield "optimizer.decay_norm_and_bias", "optimizer.weight_decay=0 decays nothing"


def _of_data(config: TrainConfig) -> Iterator[tuple[str, str]]:
    dataset = config.dataset
    if dataset.validation != "holdout":
        for field in ("holdout_fraction", "holdout_balance"):
            yield f"dataset.{field}", f"dataset.validation={dataset.validation} holds out none of the training images"
        if dataset.folds is None and not config.ensemble.folds:
            yield "dataset.split_seed", "the training images are neither split nor divided into folds"
    if dataset.imbalance.profile == "none":
        for field in ("factor", "subset_seed"):
            yield f"dataset.imbalance.{field}", "dataset.imbalance.profile=none; allowed are exponential, step"
    if config.checkpoint.choose == "last":
        yield "checkpoint.monitor", "checkpoint.choose=last reports the last epoch"
    elif dataset.validation == "none":
        for field in ("monitor", "choose"):
            yield f"checkpoint.{field}", "without validation images the last epoch is reported"


def _of_ensemble(config: TrainConfig) -> Iterator[tuple[str, str]]:
    if config.ensemble.members == 1:
        for field in ("combine", "workers"):
            yield f"ensemble.{field}", "ensemble.members=1 is a single model"
    if config.start is None:
        yield "start_sha256", "it is filled in with start=RUN"
        yield "fresh_head", "without start=RUN the head is new or loaded from model.weights"


def _of_runtime(config: TrainConfig | EvaluateConfig) -> Iterator[tuple[str, str]]:
    name = resolved_runtime(config.runtime.name)
    if name in XLA_NAMES:
        yield "runtime.compile", f"runtime={name} always compiles"
        yield "runtime.threads", f"runtime={name} manages its own threads"
        yield "deterministic", f"runtime={name} has no such switch"


def _text(value: object) -> str:
    return "null" if value is None else str(value)
