"""What teacher= names: a run, or a folder with logits that evaluate.py saved of training images and held-out ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from omegaconf import DictConfig

from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.typed import as_typed, expanded
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.folder import RunFolder

SAVED_BY = f"{command('evaluate')} ckpt=RUN split=train"


def folder_of_logits(teacher: Path) -> Path:
    """The folder that has the teacher's logits: `teacher`, or of a run the one evaluation of its training images.

    Raises UsageError for a run without such an evaluation, or with several.
    """
    if RunFolder(teacher).predictions("train").is_file() or not RunFolder(teacher).data.is_file():
        return teacher
    evaluations = sorted(teacher.glob("evaluations/*"))
    found = [folder for folder in evaluations if RunFolder(folder).predictions("train").is_file()]
    if not found:
        how = f"{command('evaluate')} {as_typed('ckpt', str(teacher))} split=train"
        raise UsageError(f"teacher={teacher}: its logits of training images are not saved yet; first: {how}")
    if len(found) > 1:
        names = ", ".join(folder.name for folder in found)
        raise UsageError(f"teacher={teacher}: has several evaluations of training images ({names}); name one of them")
    return found[0]


def logits_sha256(folder: Path, trust: str) -> str:
    """SHA-256 of the teacher's logits, with `trust` by_recall of those of the validation images too.

    Raises UsageError if it has none.
    """
    files = [RunFolder(folder).predictions("train")]
    if not files[0].is_file():
        raise UsageError(
            f"teacher={folder}: it has no logits of training images (predictions/train.npz), which {SAVED_BY} writes"
        )
    if trust == "by_recall":
        files.append(RunFolder(folder).predictions("validation"))
        if not files[1].is_file():
            raise UsageError(
                f"distillation.trust=by_recall: teacher={folder} has no logits of validation images "
                "(dataset.validation=holdout)"
            )
    sha256 = hashlib.sha256()
    for file in files:
        sha256.update(file.read_bytes())
    return sha256.hexdigest()


def with_teacher(config: DictConfig) -> DictConfig:
    """`config` with the checksum of its teacher's logits. Raises UsageError if it has none, or other ones."""
    if config.teacher is None:
        return config
    folder = folder_of_logits(expanded(str(config.teacher), "teacher").resolve())
    sha256 = logits_sha256(folder, config.distillation.trust)
    if config.teacher_sha256 not in (None, sha256):
        raise UsageError(f"teacher={folder}: its logits are not those that the run learnt from (teacher_sha256)")
    config.teacher, config.teacher_sha256 = str(folder), sha256
    return config


def is_adjusted_by_prior(folder: Path) -> bool:
    """Whether the teacher's logits are those that adjust=logit_adjustment changed."""
    try:
        record = json.loads((folder / "report" / "adjustment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("adjust") == "logit_adjustment"
