"""What evaluate.py takes from the runs that `ckpt` names, and which overrides and combinations it allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from cifar_imbalance.configuration.differences import is_execution_field
from cifar_imbalance.configuration.effects import models_run
from cifar_imbalance.configuration.fields import EvaluateConfig
from cifar_imbalance.configuration.image_folder import has_splits
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.overrides import keys, named_values
from cifar_imbalance.configuration.typed import as_typed, expanded
from cifar_imbalance.configuration.values import WEIGHT_SUFFIXES
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.published import PREFIX, published_tables
from cifar_imbalance.runs.adjustable import check_adjustment, check_fitted, check_one_head
from cifar_imbalance.runs.folder import RunFolder, find_run, runs_in
from cifar_imbalance.runs.named import first_of, run_folder, runs_with_logits
from cifar_imbalance.runs.overridden import as_composed, override, text_of
from cifar_imbalance.runs.seeds import is_folder_of_runs, name_in, runs_of_seeds


def evaluation_folder(ckpt: Any, split: str, now: str) -> str:
    """The folder of an evaluation: inside the run's folder, or under outputs/ for several runs and for weights."""
    run = find_run(str(ckpt)) if isinstance(ckpt, str | int | float) else None
    return str(run.path / "evaluations" / f"{split}_{now}") if run else f"outputs/evaluations/{split}_{now}"


def composed_for_evaluation(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration of an evaluation: a run's model and data, or those on the command line for a file of weights.

    Raises UsageError for a path that is neither, and for an override that contradicts the run.
    """
    if OmegaConf.is_missing(composed, "ckpt"):
        raise UsageError("ckpt: a value is missing; write ckpt=RUN_FOLDER (or a checkpoint, or a file of weights)")
    if composed.ckpt is None or isinstance(composed.ckpt, DictConfig):
        raise UsageError(f"ckpt={text_of(composed.ckpt)}: a path is expected, or a list of run folders such as [A,B]")
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
    stored = as_composed(run)
    config = OmegaConf.masked_copy(stored, ["seed", "deterministic", "dataset", "model", "runtime", "plots"])
    config.training = {"eval_batch_size": stored.training.eval_batch_size}
    config.ensemble = {"combine": stored.ensemble.combine}
    free_of_run = ("ckpt", "split", "images", "views", "view_weights", "reference", "auroc", "open")
    for name in (*free_of_run, "adjust", "test_prior", "group_by", "baseline"):
        config[name] = composed[name]
    free = (*free, *free_of_run)

    def may_differ(field: str) -> bool:
        return is_execution_field(field) or field in free

    override(
        config, named_values(overrides, composed, EvaluateConfig), EvaluateConfig, may_differ, f"ckpt={composed.ckpt}"
    )
    if config.images is not None:
        check_fitted(config)
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
    check_one_head(composed.adjust, runs)
    owner = first_of(composed.ckpt, runs)
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
        what = f"ckpt={text_of(composed.ckpt)}"
        raise UsageError(f"{what}: with group_by a folder of runs is expected, such as a sweep's")
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
        asked = text_of(ckpt)
        raise UsageError(f"reference={reference}: is a folder of runs, and ckpt={asked} is none; name one of its runs")
    if not run_folder(reference, "reference").predictions(split).is_file():
        raise UsageError(f"reference={reference}: it has no saved logits of split={split} (predictions/{split}.npz)")


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
