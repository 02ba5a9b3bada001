"""What `resume=RUN` and `ckpt=RUN` take from a run's own config.yaml, and what may be typed beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from cifar_imbalance.checks import WEIGHT_SUFFIXES, field_paths
from cifar_imbalance.config import EvaluateConfig, TrainConfig
from cifar_imbalance.errors import UsageError
from cifar_imbalance.run_folder import RunFolder, find_run


def evaluation_folder(ckpt: str, split: str, now: str) -> str:
    """Where an evaluation is written: beside the run's own files, or under outputs/ for weights from elsewhere."""
    run = find_run(ckpt)
    return str(run.path / "evaluations" / f"{split}_{now}") if run else f"outputs/evaluations/{split}_{now}"


def resumed(composed: DictConfig, typed: Iterable[str]) -> DictConfig:
    """The configuration of the run to go on with, plus the typed fields that may differ from it.

    `composed` is what Hydra made of the command line and `typed` its keys. Without `resume` it is returned as it is.
    Raises UsageError for a path that is no run and for a difference that would make it another experiment.
    """
    if composed.get("resume") is None:
        return composed
    run = find_run(composed.resume)
    if run is None or not Path(composed.resume).expanduser().is_dir():
        raise UsageError(f"resume={composed.resume}: this is not a run folder (there is no config.yaml in it)")
    if not run.checkpoint("last").is_file():
        raise UsageError(f"resume={composed.resume}: no checkpoint was written (checkpoints/last.pt); start it anew")
    config = _as_composed(run)
    kept = ("runtime.precision", "runtime.compile")  # other figures come of these

    def may_differ(field: str) -> bool:
        return _runs_elsewhere(field) and field not in kept

    _lay_over(config, composed, typed, TrainConfig, may_differ, f"resume={composed.resume}")
    config.resume = composed.resume
    return config


def evaluated(composed: DictConfig, typed: Iterable[str]) -> DictConfig:
    """The configuration of an evaluation: a run's model and data, or the typed ones for a file of weights.

    Raises UsageError for a path that is neither, and for a typed field that contradicts the run.
    """
    if OmegaConf.is_missing(composed, "ckpt"):
        raise UsageError("ckpt: a value is missing; write ckpt=RUN_FOLDER (or a checkpoint, or a file of weights)")
    keys = list(typed)
    path = Path(str(composed.ckpt)).expanduser()
    if not path.exists():
        raise UsageError(f"ckpt={composed.ckpt}: there is no such file or folder")
    run = find_run(path)
    if run is None:
        return _for_weights(composed, path, keys)
    stored = _as_composed(run)
    config = OmegaConf.masked_copy(stored, ["seed", "deterministic", "dataset", "model", "runtime"])
    config.training = {"eval_batch_size": stored.training.eval_batch_size}
    config.ckpt, config.split = composed.ckpt, composed.split

    def may_differ(field: str) -> bool:
        return _runs_elsewhere(field) or field in ("ckpt", "split", "training.eval_batch_size")

    _lay_over(config, composed, keys, EvaluateConfig, may_differ, f"ckpt={composed.ckpt}")
    return config


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
    return field.startswith("runtime.") or field in ("dataset.root", "dataset.cache_dir", "resume")


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
