"""What resume=, repeat= and start= take from a run's own config.yaml, and which overrides they allow."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.configuration.differences import CHANGE_RESULTS, fingerprint, is_execution_field
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.overrides import experiment_values, is_distilled, is_second_stage, keys, named_values
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.folder import RunFolder, find_run
from cifar_imbalance.runs.named import run_folder
from cifar_imbalance.runs.overridden import as_composed, override, text_of
from cifar_imbalance.runs.teacher import SAVED_BY, with_teacher


def training_folder(
    overrides: Sequence[str],
    resume: str | None,
    repeat: str | None,
    start: str | None,
    experiment: str,
    now: str,
    seed: int,
) -> str:
    """The folder of a run: its own for a resumed run, else one named by experiment, time and seed."""
    if resume is not None:
        return str(expanded(resume, "resume"))
    experiment, seed = _experiment_and_seed(overrides, repeat or start, experiment, seed)
    return f"outputs/{experiment}/{now}_{seed}"


def job_name(overrides: Sequence[str], repeat: str | None, start: str | None, experiment: str, seed: int) -> str:
    """The experiment and the seed of a sweep's job, for its folder."""
    experiment, seed = _experiment_and_seed(overrides, repeat or start, experiment, seed)
    return f"{experiment.replace('/', '_')}_{seed}"


def _experiment_and_seed(overrides: Sequence[str], origin: str | None, experiment: str, seed: int) -> tuple[str, int]:
    """A run that uses the configuration of `origin` has its experiment and its seed, unless they are typed."""
    if origin is not None and (run := find_run(origin)):
        stored, typed = run.read_config(), keys(list(overrides))
        return (
            experiment if "experiment" in typed else stored.experiment,
            seed if "seed" in typed else stored.seed,
        )
    return experiment, seed


def composed_for_training(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run that is resumed, repeated or started from another; else `composed` unchanged.

    `composed` is what Hydra composed from `overrides`. Raises UsageError for a path that is not a run, for several of
    these at once, and for an override that would make a resumed run a different experiment.
    """
    given = [name for name in ("resume", "repeat", "start") if composed.get(name) is not None]
    if len(given) > 1:
        raise UsageError(f"{given[1]}={composed[given[1]]}: cannot be combined with {given[0]}={composed[given[0]]}")
    if not given:
        if is_second_stage(composed.experiment):
            raise UsageError(
                f"experiment={composed.experiment}: is a second stage; write start=RUN, the run that it starts from"
            )
        if composed.teacher is None and is_distilled(composed.experiment):
            raise UsageError(
                f"experiment={composed.experiment}: learns from a teacher; write teacher=RUN after {SAVED_BY}"
            )
        return with_teacher(composed)
    if given == ["resume"]:
        return _resumed(composed, overrides)
    return with_teacher(_derived(composed, overrides, given[0]))


def _resumed(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    owner = f"resume={composed.resume}"
    run = run_folder(str(composed.resume), "resume")
    stored = run.read_config()
    if stored.ensemble.members == 1 and not run.checkpoint("last").is_file():
        raise UsageError(f"{owner}: no checkpoint was written (checkpoints/last.pt); start a new run")
    for key in keys(overrides):
        if key == "hydra.run.dir":
            raise UsageError(f"{key}: a resumed run writes into its own folder, which is {run.path}")
    config = as_composed(run)
    # The weights of members that have not started yet may have moved.
    movable = ("model.weights", "ensemble.weights") if stored.ensemble.members > 1 else ()

    def may_differ(field: str) -> bool:
        return field in movable or (is_execution_field(field) and field not in CHANGE_RESULTS)

    override(config, named_values(overrides, composed, TrainConfig), TrainConfig, may_differ, owner)
    if (config.teacher is None) != (stored.teacher is None):
        here, there = text_of(config.teacher), text_of(stored.teacher)
        raise UsageError(f"{owner}: teacher is {there} in the run and {here} here; the run keeps its own")
    if not run.is_finished:
        with_teacher(config)
    waiting = [member for member in run.members(stored) if not member.checkpoint("last").is_file()]
    if config.start is not None and waiting:  # members that are still to begin with the parent's weights
        _checked_parent(config)
    return config


def going_on(config: TrainConfig, folder: Path) -> TrainConfig:
    """`config`, which resumes the run in `folder` if that has the same; one without a checkpoint is removed.

    So a sweep that was cut off goes on when it is started again in its folder.
    """
    run = RunFolder(folder)
    if not run.config.is_file() or fingerprint(config) != fingerprint(stored := run.read_config()):
        return config
    if stored.ensemble.members == 1 and not (run.checkpoint("last").is_file() or run.is_finished):
        with run.held():
            shutil.rmtree(folder)
        return config
    threads = config.runtime.threads or min(stored.runtime.threads or 1, os.cpu_count() or 1)
    return replace(config, resume=str(folder), runtime=replace(config.runtime, threads=threads))


def _derived(composed: DictConfig, overrides: Sequence[str], how: str) -> DictConfig:
    """The configuration of a new run: that of another run, with overrides; for `start` without its weights' source."""
    owner = f"{how}={composed[how]}"
    run = run_folder(str(composed[how]), how)
    config = as_composed(run)
    if how == "start":
        config.start_sha256 = None
        config.fresh_head = False
        config.teacher = config.teacher_sha256 = None
        config.model.pretrained, config.model.weights, config.ensemble.weights = False, None, []
    named = named_values(overrides, composed, TrainConfig)
    second_stage = how == "start" and is_second_stage(str(named.get("experiment")))
    if second_stage:
        named = experiment_values(composed.experiment, composed) | named
    override(config, named, TrainConfig, lambda field: field != "experiment" or second_stage, owner)
    config.resume = config.repeat = None
    if config.start is not None:
        config.start = str(expanded(config.start, "start").resolve())
        config.start_sha256 = _checked_parent(config)
    return config


def _checked_parent(config: DictConfig) -> str:
    """The SHA-256 of the parent's reported checkpoint; for an ensemble, that of its members' digests.

    Raises UsageError if the parent is not finished, is an ensemble of another size or has another model, if the model
    has its own weights, and if config.start_sha256 belongs to another parent.
    """
    owner = f"start={config.start}"
    parent = run_folder(config.start, "start")
    stored = parent.read_config()
    for path in ("model.pretrained", "model.weights", "ensemble.weights"):
        if value := OmegaConf.select(config, path):
            raise UsageError(f"{path}={text_of(value)}: the weights are those of {owner}; leave it out")
    if config.model.name != stored.model.name:
        raise UsageError(f"{owner}: model.name is {stored.model.name} there and {config.model.name} here")
    if stored.ensemble.members not in (1, config.ensemble.members):
        raise UsageError(
            f"ensemble.members={config.ensemble.members}: {owner} has {stored.ensemble.members} members, "
            "each of which starts one member"
        )
    digests = [digest for run in parent.members(stored) if (digest := run.reported_sha256())]
    if len(digests) < stored.ensemble.members:
        raise UsageError(f"{owner}: it is not finished (report/summary.json, checkpoints/)")
    sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    if config.start_sha256 not in (None, sha256):
        raise UsageError(f"{owner}: its checkpoint is not the one that the repeated run started from (start_sha256)")
    return sha256
