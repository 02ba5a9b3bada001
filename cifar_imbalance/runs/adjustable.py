"""Which runs' logits an adjustment, a combination or views may change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from cifar_imbalance.configuration.consistency import PRIOR_IN_LOSS, needs_validation
from cifar_imbalance.configuration.fields import Adjust, PredictConfig, TrainConfig
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runs.teacher import is_adjusted_by_prior


def check_adjustment(adjust: Adjust | DictConfig, run: RunFolder) -> None:
    """Raises UsageError for an adjustment of a run's logits without what it needs, and for one that corrects twice."""
    name = f"adjust={adjust.name}"
    if needs_validation(adjust) and not run.predictions("validation").is_file():
        raise UsageError(
            f"{name}: it is fitted on validation images, of which {run.path} has no saved logits "
            "(dataset.validation=holdout)"
        )
    stored = run.read_config()
    if adjust.name == "logit_adjustment" and (how := _corrected_by(stored)):
        raise UsageError(f"{name}: corrects twice, since {run.path} was trained with {how}")
    if adjust.name == "tau_normalization":
        if stored.ensemble.members > 1:
            raise UsageError(f"{name}: is of one model's head, and {run.path} is an ensemble")
        if stored.model.cosine_scale is not None:
            raise UsageError(f"{name}: {run.path} has a head of cosines, whose class vectors have norm 1 already")


def check_one_head(adjust: Adjust | DictConfig, runs: Sequence[RunFolder]) -> None:
    if adjust.name == "tau_normalization" and len(runs) > 1:
        raise UsageError(f"adjust=tau_normalization: is of one model's head, not of {len(runs)} models")


def check_use(config: PredictConfig, runs: Sequence[RunFolder], typed: Sequence[str]) -> None:
    """Raises UsageError where the logits of new images cannot be combined and adjusted as the configuration says."""
    for run in runs:
        check_adjustment(config.adjust, run)
        if config.ensemble.combine == "weighted" and not run.predictions("validation").is_file():
            raise UsageError(
                f"ensemble.combine=weighted: {run.path} has no logits of validation images (dataset.validation=holdout)"
            )
    check_one_head(config.adjust, runs)
    if len(runs) == 1 and "ensemble.combine" in typed:
        raise UsageError(f"ensemble.combine={config.ensemble.combine}: has no effect: one model is used")
    check_fitted(config)


def check_fitted(config: PredictConfig | DictConfig) -> None:
    """Raises UsageError if logits of views are to be changed by what is fitted on saved logits."""
    fitted = f"adjust={config.adjust.name}" if needs_validation(config.adjust) else None
    if config.ensemble.combine == "weighted":
        fitted = "ensemble.combine=weighted"
    if config.views != "none" and fitted is not None:
        raise UsageError(
            f"views={config.views}: {fitted} is fitted on saved logits of validation images, which are of no views; "
            "leave one of them out"
        )


def _corrected_by(config: TrainConfig) -> str | None:
    """What corrected for the classes' frequencies in training, if anything did."""
    if config.loss.name in (*PRIOR_IN_LOSS, "gml"):
        return f"loss={config.loss.name}, whose logits are for equally frequent classes already"
    if config.class_weights.name != "none":
        return f"class_weights={config.class_weights.name}"
    if config.teacher is not None and is_adjusted_by_prior(Path(config.teacher)):
        return f"teacher={config.teacher}, whose logits were adjusted already"
    return f"sampler={config.sampler.name}" if config.sampler.name != "instance" else None
