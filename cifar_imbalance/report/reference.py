"""The reference that a run is compared with: a table of the paper, or another run's saved logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.configuration.differences import differing_fields
from cifar_imbalance.configuration.fields import EvaluateConfig, TrainConfig
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.published import PREFIX, read_published
from cifar_imbalance.runs.folder import RunFolder


@dataclass(frozen=True, eq=False)
class Reference:
    """Results of each class, arrays [K] in the order of the run's classes; NaN where the reference has none."""

    source: str
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]  # 0 where the reference has none
    summary: dict[str, Any]
    predictions: Predictions | None  # None: only printed results
    remarks: dict[str, str]  # on a result in the summary
    in_text: dict[str, float]  # results of the summary that differ in the paper's text
    contradictions: list[str]  # within the reference
    facts: dict[str, str]  # model, epochs, data, ...: what is known of how it was made
    run: RunFolder | None  # None: a table of the paper


def differences(reference: Reference, runs: Sequence[RunFolder], evaluated: EvaluateConfig) -> list[str]:
    """In what the evaluated `runs`, of which there are several in a combination, are not like the reference.

    Two runs are compared field by field, and by their training images; with a table of the paper and with a file of
    weights, whose `runs` are none, what is known of both is.
    """
    if runs and reference.run is not None:
        found = [differing(reference.run, run) for run in runs]
    else:
        known = [facts_of(run.read_config()) for run in runs]
        found = [
            {name: (value, facts[name]) for name, value in reference.facts.items() if facts.get(name, value) != value}
            for facts in known or [{"model": evaluated.model.name, "data": evaluated.dataset.name}]
        ]
    lines = [f"runs: one in the reference, {len(runs)} are combined here"] if len(runs) > 1 else []
    for name in dict.fromkeys(name for one in found for name in one):
        theirs = next(one[name][0] for one in found if name in one)
        ours = dict.fromkeys(_text(one[name][1] if name in one else theirs) for one in found)
        lines.append(f"{name}: {_text(theirs)} in the reference, {', '.join(ours)} in the run")
    return lines


def differing(reference: RunFolder, run: RunFolder) -> dict[str, tuple[Any, Any]]:
    """The fields in which two runs differ, and their training images if those do."""
    images = reference.recorded_sha256().get("train"), run.recorded_sha256().get("train")
    others = {"training images": (f"SHA-256 {images[0]!s:.8}", f"{images[1]!s:.8}")} if images[0] != images[1] else {}
    return {**differing_fields(reference.read_config(), run.read_config()), **others}


def _text(value: object) -> str:
    return "null" if value is None else str(value)


def facts_of(config: TrainConfig) -> dict[str, str]:
    """Model, epochs and data of a run, to be compared with those of another."""
    dataset, tail = config.dataset, config.dataset.imbalance
    weights = config.model.weights or ("ImageNet" if config.model.pretrained else "none")
    return {
        "model": ", ".join(config.ensemble.models) or config.model.name,
        "members": str(config.ensemble.members),
        "initial weights": f"those of {config.start}" if config.start else weights,
        "input": "native size of the images"
        if config.model.resolution is None
        else f"{config.model.resolution} of the model's",
        "epochs": str(config.training.epochs),
        "data": dataset.name + (f" at {dataset.image_size} px" if dataset.image_size else ""),
        "training images": "all" if tail.profile == "none" else f"{tail.profile}, imbalance factor {tail.factor:g}",
        "validation": dataset.validation,
    }


def read_reference(name: str, split: str, class_names: tuple[str, ...]) -> Reference:
    """`paper/exp2`, `paper/exp3` or the folder of a run. Raises UsageError if its classes differ from the run's."""
    if name.startswith(PREFIX):
        return _from_paper(name, class_names)
    folder = RunFolder(expanded(name, "reference"))
    predictions = Predictions.load(folder.checked_predictions(split))
    if predictions.class_names != class_names:
        raise UsageError(f"reference={name}: its classes are not those of the run")
    metrics = class_metrics(predictions)
    return Reference(
        source=name,
        precision=metrics.precision,
        recall=metrics.recall,
        f1=metrics.f1,
        support=metrics.support,
        summary=summarize(predictions),
        predictions=predictions,
        remarks={},
        in_text={},
        contradictions=[],
        facts=facts_of(folder.read_config()),
        run=folder,
    )


def _from_paper(name: str, class_names: tuple[str, ...]) -> Reference:
    published, rows = read_published(name)
    unknown = sorted(rows.keys() - set(class_names))
    if unknown:
        raise UsageError(f"reference={name}: it is of CIFAR-100; the run has no class {', '.join(unknown[:3])}")

    def column(key: str) -> NDArray[np.float64]:
        return np.array([float(rows[c][key]) if c in rows else np.nan for c in class_names])

    return Reference(
        source=published["source"],
        precision=column("precision"),
        recall=column("recall"),
        f1=column("f1"),
        support=np.nan_to_num(column("support")).astype(np.int64),
        summary={key: published[key] for key in ("accuracy", "macro_precision", "macro_recall", "macro_f1")},
        predictions=None,
        remarks=published["remarks"],
        in_text=published["in_text"],
        contradictions=published["contradictions"],
        facts=published["facts"],
        run=None,
    )
