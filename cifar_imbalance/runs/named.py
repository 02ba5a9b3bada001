"""The runs that `ckpt`, `resume`, `repeat`, `start` and `reference` name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from cifar_imbalance.configuration.fields import EvaluateConfig
from cifar_imbalance.configuration.typed import as_typed, expanded
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.folder import RunFolder, find_run


def run_folder(path: str, field: str) -> RunFolder:
    folder = expanded(path, field)
    if not folder.exists():
        raise UsageError(f"{field}={path}: there is no such folder; a run folder is expected")
    if folder.is_file() and (run := find_run(path)):
        raise UsageError(f"{field}={path}: is a file of a run; write {as_typed(field, str(run.path))}")
    if not (folder / "config.yaml").is_file():
        raise UsageError(f"{field}={path}: this is not a run folder (there is no config.yaml in it)")
    return RunFolder(folder)


def combined_runs(ckpt: Any) -> list[RunFolder]:
    """The runs whose saved logits are combined: those of a list, or an ensemble's members; none for one model.

    Raises UsageError for an entry that is not a run folder.
    """
    if isinstance(ckpt, Sequence) and not isinstance(ckpt, str):
        runs = [run_folder(str(path), "ckpt") for path in ckpt]
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
    run = run_folder(ckpt, "ckpt")
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


def finished_runs(ckpt: str) -> list[RunFolder]:
    """The finished run in the folder `ckpt`, an ensemble's members before it. Raises UsageError if it is none."""
    run = run_folder(ckpt, "ckpt")
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


def first_of(ckpt: Any, runs: Sequence[RunFolder]) -> RunFolder:
    """The ensemble that `ckpt` names, or the first of a list of `runs`."""
    whole = find_run(ckpt) if isinstance(ckpt, str) else None
    return whole or runs[0]


def own_combination(ckpt: Any, runs: Sequence[RunFolder]) -> str:
    """How the `runs` of `ckpt` are combined unless told otherwise: as their ensemble, or the first of a list, says."""
    return first_of(ckpt, runs).read_config().ensemble.combine
