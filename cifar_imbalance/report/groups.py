"""What a table of runs needs of each, and of a group of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.configuration.fields import OPERATORS, TrainConfig
from cifar_imbalance.configuration.schema import field_paths, leaves
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.terminal import count_of_classes

METRICS = ("accuracy", "macro_f1", "worst_decile_recall", "worst_recall", "recall_sd", "loss", "calibration_error")
GROUPS = ("many", "medium", "few")
# The mean recall of the tenth of the classes that the baseline recognised worst on its validation images: unlike the
# worst decile, classes that were chosen without the test images.
HARD = "hard_decile_recall"
MOST_GROUPS = 200  # of a table


@dataclass(frozen=True, eq=False)
class Result:
    """What a table needs of a finished run."""

    run: RunFolder
    seed: int
    predictions: Predictions
    metrics: dict[str, float]  # METRICS, the mean recalls of the GROUPS, in a table HARD
    best_minus_last: float | None  # in accuracy on the test images; None if they were not evaluated after each epoch
    parameters: int | None
    seconds: float  # of training
    adjusted_by: Mapping[str, float] = field(default_factory=dict)  # the fitted or given numbers, such as tau

    def changed(self, predictions: Predictions, adjusted_by: Mapping[str, float]) -> Result:
        """The same run with other logits, of its reported epoch alone."""
        return replace(
            self,
            predictions=predictions,
            metrics=_metrics(predictions),
            best_minus_last=None,
            adjusted_by=adjusted_by,
        )

    def with_hard(self, classes: NDArray[np.int64]) -> Result:
        return replace(self, metrics=self.metrics | {HARD: float(np.nanmean(self.recalls[classes]))})

    @property
    def recalls(self) -> NDArray[np.float64]:
        return class_metrics(self.predictions).recall


def read_result(run: RunFolder) -> Result:
    """The results of a finished run. Raises UsageError if its files are damaged."""
    predictions = Predictions.load(run.checked_predictions("test"))
    history = run.checked_history()
    accuracies = [line["test_accuracy"] for line in history if line.get("test_accuracy") is not None]
    found = re.search(r"^Total params: ([\d,]+)$", (run.path / "model.txt").read_text(errors="replace"), re.M)
    return Result(
        run=run,
        seed=run.read_config().seed,
        predictions=predictions,
        metrics=_metrics(predictions),
        best_minus_last=max(accuracies) - accuracies[-1] if accuracies else None,
        parameters=int(found[1].replace(",", "")) if found else None,
        seconds=sum(line["seconds"] for line in history),
    )


def _metrics(predictions: Predictions) -> dict[str, float]:
    summary = summarize(predictions)
    metrics = {name: float(summary[name]) for name in METRICS}
    for name, group in summary.get("groups", {}).items():
        metrics[name] = float("nan") if group["recall"] is None else group["recall"]
    return metrics


def grouped(runs: Sequence[RunFolder], fields: Sequence[str]) -> dict[str, list[RunFolder]]:
    """The runs by the values of these fields of TrainConfig, in the order in which they come.

    A configuration group, such as loss or augmentation, is a field whose value is its choice. Another block is on, or
    off if the run did not make that choice; so is a field of such a block. Raises UsageError for more than MOST_GROUPS.
    """
    blocks = {path.rpartition(".")[0] for path in field_paths(TrainConfig)}
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        values = dict(leaves(run.read_config()))
        names = []
        for name in fields:
            if name == "augmentation":
                names.append(",".join(one for one in OPERATORS if f"augmentation.{one}" not in values) or "none")
                continue
            name = f"{name}.name" if f"{name}.name" in values else name
            if name in values and not (name in blocks and values[name] is None):
                names.append("null" if values[name] is None else str(values[name]))
            else:
                names.append("on" if any(path.startswith(f"{name}.") for path in values) else "off")
        groups.setdefault(" ".join(names), []).append(run)
    if len(groups) > MOST_GROUPS:
        raise UsageError(f"group_by={','.join(fields)}: makes {len(groups)} groups; a table has at most {MOST_GROUPS}")
    return groups


def shown_groups(row: Mapping[str, Any]) -> tuple[str, ...]:
    """GROUPS that a table shows: none where all classes have many images."""
    return GROUPS if any(row.get(name) is not None and not np.isnan(row[name]) for name in GROUPS[1:]) else ()


def mean_recalls(group: Sequence[Result]) -> NDArray[np.float64]:
    return np.asarray(np.mean([result.recalls for result in group], axis=0))


def hard_decile(baseline: Sequence[Result]) -> NDArray[np.int64] | None:
    """The classes of HARD, by the runs' validation images; None where none were held out."""
    files = [result.run.predictions("validation") for result in baseline]
    if not all(file.is_file() for file in files):
        return None
    return hard_classes([Predictions.load(result.run.checked_predictions("validation")) for result in baseline])


def hard_classes(of_runs: Sequence[Predictions]) -> NDArray[np.int64]:
    """The tenth of the classes of lowest mean recall, the lowest first."""
    recalls = np.mean([class_metrics(predictions).recall for predictions in of_runs], axis=0)
    known = int((~np.isnan(recalls)).sum())
    return np.argsort(recalls, kind="stable")[: math.ceil(known / 10)]  # without images: NaN, which is last


def hard_in_words(baseline: str, names: Sequence[str]) -> str:
    """What HARD is in this table."""
    return (
        f"hard decile: mean recall of the {count_of_classes(len(names))} that {baseline} recognised worst on its "
        f"validation images: {', '.join(names)}"
    )


def cell_text(row: Mapping[str, Any], column: str) -> str:
    value, sd = row[column], row.get(f"{column}_sd")
    if value is None or np.isnan(value):
        return "-"
    if isinstance(value, int):
        return str(value)
    if column == "seconds":
        return f"{value:.0f}"
    return f"{value:.4f}" + ("" if sd is None else f" ± {sd:.4f}")
