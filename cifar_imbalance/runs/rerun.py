"""What resume=, repeat=, start= and ckpt= read from a run's own config.yaml, and which overrides they allow."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from cifar_imbalance.configuration.checks import PRIOR_IN_LOSS, needs_validation
from cifar_imbalance.configuration.differences import CHANGE_RESULTS, fingerprint, is_execution_field
from cifar_imbalance.configuration.effects import models_run
from cifar_imbalance.configuration.fields import Adjust, EvaluateConfig, PredictConfig, TrainConfig
from cifar_imbalance.configuration.hardware import XLA_NAMES, resolved_runtime
from cifar_imbalance.configuration.image_folder import has_splits
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.overrides import experiment_values, is_distilled, is_second_stage, keys, named_values
from cifar_imbalance.configuration.schema import block_defaults
from cifar_imbalance.configuration.typed import as_typed, expanded
from cifar_imbalance.configuration.values import WEIGHT_SUFFIXES
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.published import PREFIX, published_tables
from cifar_imbalance.runs.folder import RunFolder, find_run, runs_in
from cifar_imbalance.runs.seeds import is_folder_of_runs, name_in, runs_of_seeds
from cifar_imbalance.runs.teacher import HOW, is_adjusted_by_prior, with_teacher


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


def evaluation_folder(ckpt: Any, split: str, now: str) -> str:
    """The folder of an evaluation: inside the run's folder, or under outputs/ for several runs and for weights."""
    run = find_run(str(ckpt)) if isinstance(ckpt, str | int | float) else None
    return str(run.path / "evaluations" / f"{split}_{now}") if run else f"outputs/evaluations/{split}_{now}"


def combined_runs(ckpt: Any) -> list[RunFolder]:
    """The runs whose saved logits are combined: those of a list, or an ensemble's members; none for one model.

    Raises UsageError for an entry that is not a run folder.
    """
    if isinstance(ckpt, Sequence) and not isinstance(ckpt, str):
        runs = [_run_folder(str(path), "ckpt") for path in ckpt]
        if not runs:
            raise UsageError("ckpt=[]: at least one run folder is expected")
        places = [run.path.resolve() for run in runs]
        twice = [str(run.path) for k, run in enumerate(runs) if places[k] in places[:k]]
        if twice:
            raise UsageError(f"ckpt: {twice[0]} is in the list twice")
        return runs
    run = find_run(ckpt)
    if run is None or not expanded(str(ckpt), "ckpt").is_dir():
        return []
    stored = run.read_config()
    return run.members(stored) if stored.ensemble.members > 1 else []


def single_run(ckpt: str) -> RunFolder:
    """The finished run of one model whose folder is `ckpt`. Raises UsageError if it is none."""
    run = _run_folder(ckpt, "ckpt")
    members = run.read_config().ensemble.members
    if members > 1:
        raise UsageError(f"ckpt={ckpt}: is an ensemble of {members}; name one of them, {run.member(0).path}")
    if run.reported_sha256() is None:
        raise UsageError(f"ckpt={ckpt}: it is not finished (report/summary.json, checkpoints/)")
    return run


def runs_to_use(ckpt: Any) -> list[RunFolder]:
    """The finished runs whose models are used together: of a list, of an ensemble, or one. Raises UsageError."""
    runs = combined_runs(ckpt) or [single_run(str(ckpt))]
    return [single_run(str(run.path)) for run in runs]


def own_combination(ckpt: Any, runs: Sequence[RunFolder]) -> str:
    """How the `runs` of `ckpt` are combined unless told otherwise: as their ensemble, or the first of a list, says."""
    return _first_of(ckpt, runs).read_config().ensemble.combine


def _first_of(ckpt: Any, runs: Sequence[RunFolder]) -> RunFolder:
    """The ensemble that `ckpt` names, or the first of a list of `runs`."""
    whole = find_run(ckpt) if isinstance(ckpt, str) else None
    return whole or runs[0]


def finished_runs(ckpt: str) -> list[RunFolder]:
    """The finished run in the folder `ckpt`, an ensemble's members before it. Raises UsageError if it is none."""
    run = _run_folder(ckpt, "ckpt")
    runs = [*run.members(config), run] if (config := run.read_config()).ensemble.members > 1 else [run]
    for one in runs:
        if not one.is_finished:
            raise UsageError(f"ckpt={one.path}: it is not finished (report/summary.json)")
    return runs


def runs_with_logits(config: DictConfig | EvaluateConfig) -> list[RunFolder]:
    """The runs whose saved logits are evaluated: those that are combined, or one whose logits are to be changed.

    None for a model that is to be run. Raises UsageError for logits to be changed that are not a run's.
    """
    runs = combined_runs(config.ckpt)
    changes = {"adjust": config.adjust.name, "test_prior.profile": config.test_prior.profile}
    changes |= {"view_weights": config.view_weights}
    asked = [f"{name}={value}" for name, value in changes.items() if value not in ("none", "equal")]
    if runs or not asked:
        return runs
    run = find_run(config.ckpt)
    if run is None or not expanded(str(config.ckpt), "ckpt").is_dir():
        raise UsageError(f"{asked[0]}: changes the saved logits of a run; ckpt={config.ckpt} is not a run folder")
    return [run]


def _run_folder(path: str, field: str) -> RunFolder:
    folder = expanded(path, field)
    if not folder.exists():
        raise UsageError(f"{field}={path}: there is no such folder; a run folder is expected")
    if folder.is_file() and (run := find_run(path)):
        raise UsageError(f"{field}={path}: is a file of a run; write {as_typed(field, str(run.path))}")
    if not (folder / "config.yaml").is_file():
        raise UsageError(f"{field}={path}: this is not a run folder (there is no config.yaml in it)")
    return RunFolder(folder)


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
            raise UsageError(f"experiment={composed.experiment}: learns from a teacher; write teacher=FOLDER, {HOW}")
        return with_teacher(composed)
    if given == ["resume"]:
        return _resumed(composed, overrides)
    return with_teacher(_derived(composed, overrides, given[0]))


def _resumed(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    owner = f"resume={composed.resume}"
    run = _run_folder(str(composed.resume), "resume")
    stored = run.read_config()
    if stored.ensemble.members == 1 and not run.checkpoint("last").is_file():
        raise UsageError(f"{owner}: no checkpoint was written (checkpoints/last.pt); start a new run")
    for key in keys(overrides):
        if key == "hydra.run.dir":
            raise UsageError(f"{key}: a resumed run writes into its own folder, which is {run.path}")
    config = _as_composed(run)
    # The weights of members that have not started yet may have moved.
    movable = ("model.weights", "ensemble.weights") if stored.ensemble.members > 1 else ()

    def may_differ(field: str) -> bool:
        return field in movable or (is_execution_field(field) and field not in CHANGE_RESULTS)

    _apply(config, named_values(overrides, composed, TrainConfig), TrainConfig, may_differ, owner)
    if (config.teacher is None) != (stored.teacher is None):
        here, there = _text(config.teacher), _text(stored.teacher)
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
    run = _run_folder(str(composed[how]), how)
    config = _as_composed(run)
    if how == "start":
        config.start_sha256 = None
        config.fresh_head = False
        config.teacher = config.teacher_sha256 = None
        config.model.pretrained, config.model.weights, config.ensemble.weights = False, None, []
    named = named_values(overrides, composed, TrainConfig)
    second_stage = how == "start" and is_second_stage(str(named.get("experiment")))
    if second_stage:
        named = experiment_values(composed.experiment, composed) | named
    _apply(config, named, TrainConfig, lambda field: field != "experiment" or second_stage, owner)
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
    parent = _run_folder(config.start, "start")
    stored = parent.read_config()
    for path in ("model.pretrained", "model.weights", "ensemble.weights"):
        if value := OmegaConf.select(config, path):
            raise UsageError(f"{path}={_text(value)}: the weights are those of {owner}; leave it out")
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


def composed_for_evaluation(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration of an evaluation: a run's model and data, or those on the command line for a file of weights.

    Raises UsageError for a path that is neither, and for an override that contradicts the run.
    """
    if OmegaConf.is_missing(composed, "ckpt"):
        raise UsageError("ckpt: a value is missing; write ckpt=RUN_FOLDER (or a checkpoint, or a file of weights)")
    if composed.ckpt is None or isinstance(composed.ckpt, DictConfig):
        raise UsageError(f"ckpt={_text(composed.ckpt)}: a path is expected, or a list of run folders such as [A,B]")
    if not isinstance(composed.ckpt, ListConfig):
        composed.ckpt = str(composed.ckpt)  # a folder may be named 0
    if composed.group_by is not None:
        return _for_groups(composed)
    if of_many_seeds(composed):
        return _for_seeds(composed)
    if composed.baseline is not None:
        raise UsageError(f"baseline={composed.baseline}: only with group_by=FIELD, a table of the runs in a folder")
    _check_reference(composed.reference, composed.split, composed.ckpt)
    _check_other_images(composed)
    if isinstance(composed.ckpt, ListConfig) or expanded(composed.ckpt, "ckpt").exists():
        runs = runs_with_logits(composed)
        if runs:
            _check_own_images(composed.images, runs)
            return _for_combination(composed, runs, overrides)
    if is_folder_of_runs(composed.ckpt):
        if run := find_run(expanded(str(composed.ckpt), "ckpt").parent):  # evaluations/, or members/ of an ensemble
            raise UsageError(f"ckpt={composed.ckpt}: is a part of a run; write {as_typed('ckpt', str(run.path))}")
        raise UsageError(f"ckpt={composed.ckpt}: is a folder of runs; add group_by=FIELD or reference=FOLDER")
    path = expanded(str(composed.ckpt), "ckpt")
    if not path.exists():
        raise UsageError(f"ckpt={composed.ckpt}: there is no such file or folder")
    run = find_run(path)
    if run is None:
        return _for_weights(composed, path, overrides)
    if (run.path / "evaluations").is_symlink():
        raise UsageError(
            f"ckpt={composed.ckpt}: evaluations is a link; an evaluation is written into the run's own folder"
        )
    _check_own_images(composed.images, [run])
    return _of_run(composed, run, overrides, ("training.eval_batch_size",))


def _of_run(composed: DictConfig, run: RunFolder, overrides: Sequence[str], free: tuple[str, ...]) -> DictConfig:
    """The configuration of an evaluation of `run`; overrides of the `free` fields may differ from the run's values."""
    stored = _as_composed(run)
    config = OmegaConf.masked_copy(stored, ["seed", "deterministic", "dataset", "model", "runtime", "plots"])
    config.training = {"eval_batch_size": stored.training.eval_batch_size}
    config.ensemble = {"combine": stored.ensemble.combine}
    free_of_run = ("ckpt", "split", "images", "views", "view_weights", "reference", "auroc", "open")
    for name in (*free_of_run, "adjust", "test_prior", "group_by", "baseline"):
        config[name] = composed[name]
    free = (*free, *free_of_run)

    def may_differ(field: str) -> bool:
        return is_execution_field(field) or field in free

    _apply(
        config, named_values(overrides, composed, EvaluateConfig), EvaluateConfig, may_differ, f"ckpt={composed.ckpt}"
    )
    if config.images is not None:
        _check_fitted(config)
    return config


def _for_combination(composed: DictConfig, runs: list[RunFolder], overrides: Sequence[str]) -> DictConfig:
    """The configuration of a combination, from the first run. Raises UsageError if a run lacks logits of the split."""
    for run in runs:
        saved = run.predictions(composed.split).is_file() or models_run(composed)
        if not (run.is_finished and saved):
            raise UsageError(
                f"ckpt={run.path}: no logits of split={composed.split} were saved (predictions/{composed.split}.npz); "
                "a finished run has those of test, and of validation if it held out images"
            )
        if composed.ensemble.combine == "weighted" and not run.predictions("validation").is_file():
            raise UsageError(
                f"ensemble.combine=weighted: {run.path} has no logits of validation images (dataset.validation=holdout)"
            )
        if composed.view_weights == "by_class" and not run.predictions("validation").is_file():
            raise UsageError(
                f"view_weights=by_class: they are learnt on validation images, which {run.path} did not hold out "
                "(dataset.validation=holdout)"
            )
        check_adjustment(composed.adjust, run)
    _check_one_head(composed.adjust, runs)
    owner = _first_of(composed.ckpt, runs)
    if not models_run(composed):
        return _of_run(composed, owner, overrides, ("ensemble.combine",))
    sets = [replace(run.read_config().dataset, root=None, cache_dir="") for run in runs]
    if composed.images is None and any(dataset != sets[0] for dataset in sets):
        asked = f"views={composed.views}" if composed.split != "train" else "split=train"
        raise UsageError(f"{asked}: the models are run on one set of images, and these runs have different ones")
    return _of_run(composed, owner, overrides, ("ensemble.combine", "training.eval_batch_size"))


def _for_groups(composed: DictConfig) -> DictConfig:
    """The configuration of a table of the runs in a folder. Raises UsageError if there are none."""
    if isinstance(composed.ckpt, str) and not expanded(composed.ckpt, "ckpt").exists():
        raise UsageError(f"ckpt={composed.ckpt}: there is no such folder")
    if isinstance(composed.ckpt, ListConfig) or not expanded(composed.ckpt, "ckpt").is_dir():
        raise UsageError(f"ckpt={_text(composed.ckpt)}: with group_by a folder of runs is expected, such as a sweep's")
    if next(runs_in(expanded(composed.ckpt, "ckpt")), None) is None:
        raise UsageError(f"ckpt={composed.ckpt}: there are no runs in it")
    return composed


def of_many_seeds(config: DictConfig | EvaluateConfig) -> bool:
    """Whether a folder of runs is to be compared with a reference."""
    return config.group_by is None and config.reference is not None and is_folder_of_runs(config.ckpt)


def _for_seeds(composed: DictConfig) -> DictConfig:
    """The configuration of a comparison of two folders of runs. Raises UsageError if they cannot be compared."""
    reference, ckpt = composed.reference, composed.ckpt
    if not is_folder_of_runs(reference):
        what = f"is {_other_than_runs(reference)}, and ckpt={ckpt} is a folder of runs"
        raise UsageError(f"reference={reference}: {what}; name another folder of runs")
    if expanded(reference, "reference").resolve() == expanded(ckpt, "ckpt").resolve():
        raise UsageError(f"reference={reference}: is ckpt itself; name another folder of runs")
    for field, path in (("ckpt", ckpt), ("reference", reference)):
        for run in runs_of_seeds(path, field):
            if not run.predictions("test").is_file():
                raise UsageError(f"{field}={path}: {name_in(run, path)} has no saved logits (predictions/test.npz)")
    return composed


def _other_than_runs(reference: str) -> str:
    """What a reference is that is no folder of runs, in words."""
    place = expanded(reference, "reference")
    if reference.startswith(PREFIX):
        return "a table of the paper"
    if (place / "config.yaml").is_file():
        return "one run"
    return "a folder without runs" if place.is_dir() else "a file" if place.exists() else "no folder that exists"


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


def _check_one_head(adjust: Adjust | DictConfig, runs: Sequence[RunFolder]) -> None:
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
    _check_one_head(config.adjust, runs)
    if len(runs) == 1 and "ensemble.combine" in typed:
        raise UsageError(f"ensemble.combine={config.ensemble.combine}: has no effect: one model is used")
    _check_fitted(config)


def _check_fitted(config: PredictConfig | DictConfig) -> None:
    """Raises UsageError if logits of views are to be changed by what is fitted on saved logits."""
    fitted = f"adjust={config.adjust.name}" if needs_validation(config.adjust) else None
    if config.ensemble.combine == "weighted":
        fitted = "ensemble.combine=weighted"
    if config.views != "none" and fitted is not None:
        raise UsageError(
            f"views={config.views}: {fitted} is fitted on saved logits of validation images, which are of no views; "
            "leave one of them out"
        )


def _check_other_images(composed: DictConfig) -> None:
    """Raises UsageError for a folder of other test images that does not exist, and for what needs the run's own."""
    if composed.images is None:
        return
    given = f"images={composed.images}"
    place, expected = expanded(str(composed.images), "images"), "CLASS/IMAGE or test/CLASS/IMAGE is expected in it"
    if place.exists() and not place.is_dir():
        unlabelled = f"without labels: {command('predict')} ckpt=RUN {given}"
        raise UsageError(f"{given}: is a file; name a folder, {expected} ({unlabelled})")
    if not place.is_dir():
        raise UsageError(f"{given}: there is no such folder; {expected}")
    if composed.split != "test":
        raise UsageError(f"split={composed.split}: {given} are test images; leave one of them out")
    if composed.reference is not None:
        raise UsageError(f"reference={composed.reference}: its results are not of {given}; leave one of them out")
    if composed.view_weights != "equal":
        raise UsageError(
            f"view_weights={composed.view_weights}: they are learnt on the run's own images, which are not read with "
            f"{given}; leave one of them out"
        )


def _check_own_images(images: str | None, runs: Sequence[RunFolder]) -> None:
    """Raises UsageError for a folder of `images` on which a run was trained: its train/, or its undivided tree."""
    if images is None:
        return
    place = expanded(str(images), "images").resolve()
    for run in runs:
        dataset = run.read_config().dataset
        if dataset.root is None:
            continue
        root = expanded(dataset.root, "dataset.root").resolve()
        if place == (root / "train" if has_splits(root) else root):
            raise UsageError(
                f"images={images}: {run.path} was trained on images in it; leave images= out to evaluate the run's own "
                "test images, split=train its training images"
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


def _check_reference(reference: str | None, split: str, ckpt: Any) -> None:
    """Raises UsageError for a reference that is neither a table of the paper nor a run with logits of `split`."""
    if reference is None:
        return
    if reference.startswith(PREFIX):
        tables = published_tables()
        if reference not in tables:
            raise UsageError(f"reference={reference}: allowed are {', '.join(tables)} and run folders")
        if split != "test":
            raise UsageError(f"split={split}: the tables of the paper are of the test images, allowed is test")
        return
    if is_folder_of_runs(reference):
        shown = _text(ckpt)
        raise UsageError(f"reference={reference}: is a folder of runs, and ckpt={shown} is none; name one of its runs")
    if not _run_folder(reference, "reference").predictions(split).is_file():
        raise UsageError(f"reference={reference}: it has no saved logits of split={split} (predictions/{split}.npz)")


def _for_weights(composed: DictConfig, path: Path, overrides: Sequence[str]) -> DictConfig:
    typed = keys(overrides)
    if composed.images is not None:
        raise UsageError(
            f"images={composed.images}: only with a run, whose classes are known; ckpt={composed.ckpt} is none"
        )
    if path.is_dir():
        raise UsageError(f"ckpt={composed.ckpt}: this is not a run folder (there is no config.yaml in it)")
    if not path.is_file() or path.suffix not in WEIGHT_SUFFIXES:
        raise UsageError(
            f"ckpt={composed.ckpt}: allowed are run folders and files that end in {', '.join(WEIGHT_SUFFIXES)}"
        )
    for group in ("model", "dataset"):
        if group not in typed and f"{group}.name" not in typed:
            raise UsageError(f"ckpt={composed.ckpt}: a file of weights does not contain its {group}; add {group}=NAME")
    return composed


def _as_composed(run: RunFolder) -> DictConfig:
    """A run's configuration without its types, as Hydra would have composed it.

    On a machine with fewer cores than the run had threads, they are chosen anew.
    """
    stored = OmegaConf.create(asdict(run.read_config()))
    if "open" in stored:
        stored.open = False  # as long as it is not typed
    if (stored.runtime.threads or 0) > (os.cpu_count() or 1):
        stored.runtime.threads = None
    return stored


def _apply(
    config: DictConfig,
    named: Mapping[str, Any],
    schema: type,
    may_differ: Callable[[str], bool],
    owner: str,
) -> None:
    """Override the run's `config` with the `named` values. Raises UsageError for one that may not differ."""
    for path, here in named.items():
        there = OmegaConf.select(config, path)
        if here == there:
            continue
        if not may_differ(path):
            raise UsageError(
                f"{owner}: {path} is {_text(there)} in the run and {_text(here)} here; the run keeps its own"
            )
        group, _, rest = path.partition(".")
        block = f"{group}.{rest.partition('.')[0]}"
        if "." in rest and OmegaConf.select(config, block) is None:  # a block of a choice that the run did not make
            OmegaConf.update(config, block, block_defaults(schema, block))
        OmegaConf.update(config, path, here)
    if "runtime.name" in named:
        _reset_runtime_fields(config, named)


def _reset_runtime_fields(config: DictConfig, named: Mapping[str, Any]) -> None:
    """Reset fields of the run's own runtime that another one does not have; the precision is kept."""
    on_xla = resolved_runtime(config.runtime.name) in XLA_NAMES
    for field, value in {"threads": None, "compile": False}.items() if on_xla else {"devices": None}.items():
        if f"runtime.{field}" not in named:
            config.runtime[field] = value


def _text(value: object) -> str:
    return "null" if value is None else str(list(value) if isinstance(value, ListConfig) else value)
