"""What resume=, repeat=, start= and ckpt= take over from a run's own config.yaml, and what may be typed beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from cifar_imbalance.configuration.fields import EvaluateConfig, TrainConfig
from cifar_imbalance.configuration.hardware import XLA_NAMES, resolved_runtime
from cifar_imbalance.configuration.overrides import keys, named_values
from cifar_imbalance.configuration.schema import block_defaults, choice_blocks
from cifar_imbalance.configuration.values import WEIGHT_SUFFIXES
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.published import PREFIX, published_tables
from cifar_imbalance.runs.folder import RunFolder, find_run


def training_folder(
    words: Sequence[str],
    resume: str | None,
    repeat: str | None,
    start: str | None,
    experiment: str,
    now: str,
    seed: int,
) -> str:
    """Where a run is written: a resumed one into its own folder, another into one named by experiment, time and seed."""
    if resume is not None:
        return str(Path(resume).expanduser())
    experiment, seed = _experiment_and_seed(words, repeat or start, experiment, seed)
    return f"outputs/{experiment}/{now}_{seed}"


def job_name(words: Sequence[str], repeat: str | None, start: str | None, experiment: str, seed: int) -> str:
    """The experiment and the seed of a sweep's job, for its folder."""
    experiment, seed = _experiment_and_seed(words, repeat or start, experiment, seed)
    return f"{experiment}_{seed}"


def _experiment_and_seed(words: Sequence[str], origin: str | None, experiment: str, seed: int) -> tuple[str, int]:
    """A run that takes over the configuration of `origin` has its experiment and, unless one is typed, its seed."""
    if origin is not None and (run := find_run(origin)):
        stored = run.read_config()
        return stored.experiment, seed if "seed" in keys(list(words)) else stored.seed
    return experiment, seed


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
            raise UsageError("ckpt=[]: at least one run folder is expected")
        places = [run.path.resolve() for run in runs]
        twice = [str(run.path) for k, run in enumerate(runs) if places[k] in places[:k]]
        if twice:
            raise UsageError(f"ckpt: {twice[0]} is in the list twice")
        return runs
    run = find_run(ckpt)
    if run is None or not Path(str(ckpt)).expanduser().is_dir():
        return []
    stored = run.read_config()
    return run.members(stored) if stored.ensemble.members > 1 else []


def _run_folder(path: str, field: str) -> RunFolder:
    folder = Path(path).expanduser()
    if not (folder / "config.yaml").is_file():
        raise UsageError(f"{field}={path}: this is not a run folder (there is no config.yaml in it)")
    return RunFolder(folder)


def composed_for_training(composed: DictConfig, words: Sequence[str]) -> DictConfig:
    """The configuration of a run that is resumed, repeated or started from another; else `composed` as it is.

    `composed` is what Hydra made of `words`. Raises UsageError for a path that is no run, for several of these at once,
    and for a difference that would make a resumed run another experiment.
    """
    given = [name for name in ("resume", "repeat", "start") if composed.get(name) is not None]
    if len(given) > 1:
        raise UsageError(f"{given[1]}={composed[given[1]]}: not together with {given[0]}={composed[given[0]]}")
    if not given:
        return composed
    if given == ["resume"]:
        return _resumed(composed, words)
    return _begun_from(composed, words, given[0])


def _resumed(composed: DictConfig, words: Sequence[str]) -> DictConfig:
    owner = f"resume={composed.resume}"
    run = _run_folder(str(composed.resume), "resume")
    stored = run.read_config()
    if stored.ensemble.members == 1 and not run.checkpoint("last").is_file():
        raise UsageError(f"{owner}: no checkpoint was written (checkpoints/last.pt); start it anew")
    for key in keys(words):
        if key == "hydra.run.dir":
            raise UsageError(f"{key}: a resumed run writes into its own folder, which is {run.path}")
    config = _as_composed(run)
    kept = ("runtime.precision", "runtime.compile")  # other results come of these
    moved = ("model.weights", "ensemble.weights") if stored.ensemble.members > 1 else ()  # of members not yet begun

    def may_differ(field: str) -> bool:
        return field in moved or (_runs_elsewhere(field) and field not in kept)

    _lay_over(config, named_values(words, composed, TrainConfig), TrainConfig, may_differ, owner)
    return config


def _begun_from(composed: DictConfig, words: Sequence[str], how: str) -> DictConfig:
    """The configuration of a new run that takes over that of another, and of `start` its weights, and what is typed."""
    owner = f"{how}={composed[how]}"
    run = _run_folder(str(composed[how]), how)
    config = _as_composed(run)
    if how == "start":
        config.start_sha256 = None
        config.fresh_head = False
        config.model.pretrained, config.model.weights, config.ensemble.weights = False, None, []
    named = named_values(words, composed, TrainConfig)
    for group in choice_blocks(TrainConfig):  # the settings of a choice that is unmade go with it
        unmade = config[group].name
        if named.get(f"{group}.name", unmade) != unmade and unmade in config[group]:
            config[group][unmade] = None
    _lay_over(config, named, TrainConfig, lambda field: field != "experiment", owner)
    config.resume = config.repeat = None
    if config.start is not None:
        config.start = str(Path(config.start).expanduser().resolve())
        config.start_sha256 = _checked_parent(config)
    return config


def _checked_parent(config: DictConfig) -> str:
    """The SHA-256 of the parent's reported checkpoint; of an ensemble's, that of the digests of its members'.

    Raises UsageError where the parent is not finished, where it is an ensemble of another size, where the model is
    another or has weights of its own, and where config.start_sha256 says that it was another parent.
    """
    owner = f"start={config.start}"
    parent = _run_folder(config.start, "start")
    stored = parent.read_config()
    for field, usual in (("pretrained", False), ("weights", None)):
        if config.model[field] != usual:
            raise UsageError(f"model.{field}={config.model[field]}: the weights are those of {owner}; leave it out")
    if config.model.name != stored.model.name:
        raise UsageError(f"{owner}: model.name is {stored.model.name} there and {config.model.name} here")
    if stored.ensemble.members not in (1, config.ensemble.members):
        raise UsageError(
            f"ensemble.members={config.ensemble.members}: {owner} has {stored.ensemble.members} members, "
            "each of which starts one"
        )
    digests = [digest for run in parent.members(stored) if (digest := run.reported_sha256())]
    if len(digests) < stored.ensemble.members:
        raise UsageError(f"{owner}: it is not finished (report/summary.json, checkpoints/)")
    sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    if config.start_sha256 not in (None, sha256):
        raise UsageError(f"{owner}: its checkpoint is not the one that the repeated run began with (start_sha256)")
    return sha256


def composed_for_evaluation(composed: DictConfig, words: Sequence[str]) -> DictConfig:
    """The configuration of an evaluation: a run's model and data, or the typed ones for a file of weights.

    Raises UsageError for a path that is neither, and for a typed field that contradicts the run.
    """
    if OmegaConf.is_missing(composed, "ckpt"):
        raise UsageError("ckpt: a value is missing; write ckpt=RUN_FOLDER (or a checkpoint, or a file of weights)")
    if composed.ckpt is None or isinstance(composed.ckpt, DictConfig):
        raise UsageError(f"ckpt={composed.ckpt}: a path is expected, or a list of run folders such as [A,B]")
    if not isinstance(composed.ckpt, ListConfig):
        composed.ckpt = str(composed.ckpt)  # a folder may be called 0
    _check_reference(composed.reference, composed.split)
    runs = combined_runs(composed.ckpt)
    if runs:
        return _for_combination(composed, runs, words)
    path = Path(str(composed.ckpt)).expanduser()
    if not path.exists():
        raise UsageError(f"ckpt={composed.ckpt}: there is no such file or folder")
    run = find_run(path)
    if run is None:
        return _for_weights(composed, path, words)
    return _of_run(composed, run, words, ("training.eval_batch_size",))


def _of_run(composed: DictConfig, run: RunFolder, words: Sequence[str], free: tuple[str, ...]) -> DictConfig:
    """The configuration of an evaluation of `run`; of what the words name, `free` fields may differ from the run's."""
    stored = _as_composed(run)
    config = OmegaConf.masked_copy(stored, ["seed", "deterministic", "dataset", "model", "runtime"])
    config.training = {"eval_batch_size": stored.training.eval_batch_size}
    config.ensemble = {"combine": stored.ensemble.combine}
    config.ckpt, config.split, config.reference = composed.ckpt, composed.split, composed.reference
    free = (*free, "ckpt", "split", "reference")

    def may_differ(field: str) -> bool:
        return _runs_elsewhere(field) or field in free

    _lay_over(
        config, named_values(words, composed, EvaluateConfig), EvaluateConfig, may_differ, f"ckpt={composed.ckpt}"
    )
    return config


def _for_combination(composed: DictConfig, runs: list[RunFolder], words: Sequence[str]) -> DictConfig:
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
    return _of_run(composed, whole or runs[0], words, ("ensemble.combine",))


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


def _for_weights(composed: DictConfig, path: Path, words: Sequence[str]) -> DictConfig:
    typed = keys(words)
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
    named: Mapping[str, Any],
    schema: type,
    may_differ: Callable[[str], bool],
    owner: str,
) -> None:
    """Write the `named` values into the run's `config`. Raises UsageError where one may not differ."""
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
        _leave_behind(config, named)


def _leave_behind(config: DictConfig, named: Mapping[str, Any]) -> None:
    """Take back what the run had for its own runtime and another one does not know; the precision stays."""
    on_xla = resolved_runtime(config.runtime.name) in XLA_NAMES
    for field, value in {"threads": None, "compile": False}.items() if on_xla else {"devices": None}.items():
        if f"runtime.{field}" not in named:
            config.runtime[field] = value


def _text(value: object) -> str:
    return "null" if value is None else str(list(value) if isinstance(value, ListConfig) else value)
