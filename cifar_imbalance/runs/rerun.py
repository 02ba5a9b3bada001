"""What `resume=RUN` and `ckpt=RUN` take from a run's own config.yaml, and what may be typed beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from cifar_imbalance.configuration.allowed import WEIGHT_SUFFIXES
from cifar_imbalance.configuration.fields import EvaluateConfig, TrainConfig
from cifar_imbalance.configuration.schema import field_paths
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.published import PREFIX, published_tables
from cifar_imbalance.runs.folder import RunFolder, find_run


def evaluation_folder(ckpt: Any, split: str, now: str) -> str:
    """Where an evaluation is written: beside the run's own files, or under outputs/ for several and for weights."""
    run = find_run(str(ckpt)) if isinstance(ckpt, str | int | float) else None
    return str(run.path / "evaluations" / f"{split}_{now}") if run else f"outputs/evaluations/{split}_{now}"


def combined_runs(ckpt: Any) -> list[RunFolder]:
    """The runs whose saved logits make up the answer: those of a list, or an ensemble's members; none for one model.

    Raises UsageError for an entry that is no run folder.
    """
    if isinstance(ckpt, Sequence) and not isinstance(ckpt, str):
        runs = [_run_folder(str(path), "ckpt") for path in ckpt]
        if not runs:
            raise UsageError("ckpt=[]: at least one run folder is wanted")
        places = [run.path.resolve() for run in runs]
        twice = [str(run.path) for k, run in enumerate(runs) if places[k] in places[:k]]
        if twice:
            raise UsageError(f"ckpt: {twice[0]} is in the list twice")
        return runs
    run = find_run(ckpt)
    if run is None or not Path(str(ckpt)).expanduser().is_dir():
        return []
    members = run.read_config().ensemble.members
    return [run.member(number) for number in range(members)] if members > 1 else []


def _run_folder(path: str, field: str) -> RunFolder:
    folder = Path(path).expanduser()
    if not (folder / "config.yaml").is_file():
        raise UsageError(f"{field}={path}: this is not a run folder (there is no config.yaml in it)")
    return RunFolder(folder)


def resumed(composed: DictConfig, typed: Iterable[str]) -> DictConfig:
    """The configuration of the run to go on with, plus the typed fields that may differ from it.

    `composed` is what Hydra made of the command line and `typed` its keys. Without `resume` it is returned as it is.
    Raises UsageError for a path that is no run and for a difference that would make it another experiment.
    """
    if composed.get("resume") is None:
        return composed
    run = _run_folder(str(composed.resume), "resume")
    stored = run.read_config()
    if stored.ensemble.members == 1 and not run.checkpoint("last").is_file():
        raise UsageError(f"resume={composed.resume}: no checkpoint was written (checkpoints/last.pt); start it anew")
    config = _as_composed(run)
    kept = ("runtime.precision", "runtime.compile")  # other figures come of these
    moved = ("model.weights", "ensemble.weights") if stored.ensemble.members > 1 else ()  # of members not yet begun

    def may_differ(field: str) -> bool:
        return field in moved or (_runs_elsewhere(field) and field not in kept)

    _lay_over(config, composed, typed, TrainConfig, may_differ, f"resume={composed.resume}")
    config.resume = composed.resume
    return config


def evaluated(composed: DictConfig, typed: Iterable[str]) -> DictConfig:
    """The configuration of an evaluation: a run's model and data, or the typed ones for a file of weights.

    Raises UsageError for a path that is neither, and for a typed field that contradicts the run.
    """
    if OmegaConf.is_missing(composed, "ckpt"):
        raise UsageError("ckpt: a value is missing; write ckpt=RUN_FOLDER (or a checkpoint, or a file of weights)")
    if composed.ckpt is None or isinstance(composed.ckpt, DictConfig):
        raise UsageError(f"ckpt={composed.ckpt}: a path is wanted, or a list of run folders such as [A,B]")
    if not isinstance(composed.ckpt, ListConfig):
        composed.ckpt = str(composed.ckpt)  # a folder may be called 0
    keys = list(typed)
    _check_reference(composed.reference, composed.split)
    runs = combined_runs(composed.ckpt)
    if runs:
        return _for_combination(composed, runs, keys)
    path = Path(str(composed.ckpt)).expanduser()
    if not path.exists():
        raise UsageError(f"ckpt={composed.ckpt}: there is no such file or folder")
    run = find_run(path)
    if run is None:
        return _for_weights(composed, path, keys)
    return _of_run(composed, run, keys, ("training.eval_batch_size",))


def _of_run(composed: DictConfig, run: RunFolder, typed: list[str], free: tuple[str, ...]) -> DictConfig:
    """The configuration of an evaluation of `run`; of what is typed, `free` fields may differ from the run's."""
    stored = _as_composed(run)
    config = OmegaConf.masked_copy(stored, ["seed", "deterministic", "dataset", "model", "runtime"])
    config.training = {"eval_batch_size": stored.training.eval_batch_size}
    config.ensemble = {"combine": stored.ensemble.combine}
    config.ckpt, config.split, config.reference = composed.ckpt, composed.split, composed.reference
    free = (*free, "ckpt", "split", "reference")

    def may_differ(field: str) -> bool:
        return _runs_elsewhere(field) or field in free

    _lay_over(config, composed, typed, EvaluateConfig, may_differ, f"ckpt={composed.ckpt}")
    return config


def _for_combination(composed: DictConfig, runs: list[RunFolder], typed: list[str]) -> DictConfig:
    """The first run's configuration stands for all. Raises UsageError where one has no saved logits of the split."""
    for run in runs:
        if not (run.is_finished and run.predictions(composed.split).is_file()):
            raise UsageError(
                f"ckpt={run.path}: no logits of split={composed.split} were saved (predictions/{composed.split}.npz); "
                "a run that is finished has those of test, and of validation where it held images out"
            )
        if composed.ensemble.combine == "weighted" and not run.predictions("validation").is_file():
            raise UsageError(
                f"ensemble.combine=weighted: {run.path} has no logits of validation images (dataset.validation=holdout)"
            )
    whole = find_run(composed.ckpt) if isinstance(composed.ckpt, str) else None
    return _of_run(composed, whole or runs[0], typed, ("ensemble.combine",))


def _check_reference(reference: str | None, split: str) -> None:
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
    if not _run_folder(reference, "reference").predictions(split).is_file():
        raise UsageError(f"reference={reference}: it has no saved logits of split={split} (predictions/{split}.npz)")


def _for_weights(composed: DictConfig, path: Path, typed: list[str]) -> DictConfig:
    if path.is_dir():
        raise UsageError(f"ckpt={composed.ckpt}: this is not a run folder (there is no config.yaml in it)")
    if path.suffix not in WEIGHT_SUFFIXES:
        raise UsageError(
            f"ckpt={composed.ckpt}: allowed are run folders and files that end in {', '.join(WEIGHT_SUFFIXES)}"
        )
    for group in ("model", "dataset"):
        if group not in typed and f"{group}.name" not in typed:
            raise UsageError(
                f"ckpt={composed.ckpt}: a file of weights does not say its {group}; write {group}=NAME too"
            )
    return composed


def _as_composed(run: RunFolder) -> DictConfig:
    """A run's configuration without its types, as Hydra would have composed it."""
    return OmegaConf.create(asdict(run.read_config()))


def _runs_elsewhere(field: str) -> bool:
    """Whether a field says where a run works, not what it computes."""
    elsewhere = ("dataset.root", "dataset.cache_dir", "ensemble.workers", "resume")
    return field.startswith("runtime.") or field in elsewhere


def _lay_over(
    config: DictConfig,
    composed: DictConfig,
    typed: Iterable[str],
    schema: type,
    may_differ: Callable[[str], bool],
    owner: str,
) -> None:
    """Write the typed fields of `composed` into the run's `config`. Raises UsageError where one may not differ."""
    known = field_paths(schema)
    for key in typed:
        fields = [path for path in sorted(known) if path == key or path.startswith(key + ".")]
        for path in fields:
            there, here = OmegaConf.select(config, path), OmegaConf.select(composed, path)
            if isinstance(here, DictConfig) or here == there:
                continue
            if not may_differ(path):
                raise UsageError(
                    f"{owner}: {path} is {_text(there)} in the run and {_text(here)} here; the run keeps its own"
                )
            OmegaConf.update(config, path, here)


def _text(value: object) -> str:
    return "null" if value is None else str(list(value) if isinstance(value, ListConfig) else value)
