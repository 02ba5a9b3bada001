"""The report of an ensemble: the results of its combination, compared with those of its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.configuration.fields import COMBINATIONS
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.combination import combine, mixture_weights, paired
from cifar_imbalance.evidence.diversity import METRICS_BY_SIZE, ClassGains, class_gains, metrics_by_size
from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.csv_text import csv_text
from cifar_imbalance.report.page.adjustments import adjustment_parts
from cifar_imbalance.report.page.charts import bars_chart, lines_chart
from cifar_imbalance.report.page.parts import Cell, Part, Table, number
from cifar_imbalance.report.plots.canvas import words
from cifar_imbalance.report.plots.comparisons import ensemble_plot
from cifar_imbalance.report.plots.curves import evaluated_images, member_curves_plot, member_label
from cifar_imbalance.report.write import write_report
from cifar_imbalance.runs.folder import RunFolder, shortest_names

COLUMNS = (
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "worst_recall",
    "worst_decile_recall",
    "recall_sd",
    "loss",
    "calibration_error",
)
# The entries of a run's summary.json that the summary of a combination lists for its members.
DETAILS = ("model", "weights", "dataset", "seed", "epochs", "chosen_epoch", "chosen_by", "test_set_use")


@dataclass(frozen=True)
class MemberResults:
    """The results of an ensemble's members, which are finished runs."""

    folders: list[RunFolder]
    names: list[str]  # unique
    predictions: list[Predictions]  # on the same images in the same order
    validation: list[Predictions] | None  # None if they have no validation images, or different ones
    histories: list[list[dict[str, Any]]]
    summaries: list[dict[str, Any]]

    @classmethod
    def read(
        cls,
        folders: Sequence[RunFolder],
        split: str,
        how: str,
        computed: Mapping[str, Sequence[Predictions]] | None = None,
    ) -> MemberResults:
        """The saved logits, histories and summaries of runs that are to be combined by `how`.

        Logits that were `computed`, of `split` and if there are any of "validation", take the place of the saved ones.

        Raises UsageError if a run has no logits of `split`, or its images are not those of the first run; if `how`
        is weighted, also if its validation images are not.
        """
        labels = [f"ckpt={folder.path}" for folder in folders]
        if computed is None:
            of_split = [Predictions.load(folder.checked_predictions(split)) for folder in folders]
            computed = {"validation": _saved_validation(folders), split: of_split}
        predictions = paired(computed[split], labels)
        validation = None
        if loaded := computed.get("validation"):
            labels = [f"ckpt={folder.path} (validation images)" for folder in folders]
            try:
                validation = paired(loaded, labels)
            except UsageError:
                if how == "weighted":
                    raise
        return cls(
            folders=list(folders),
            names=_names(folders),
            predictions=predictions,
            validation=validation,
            histories=[folder.checked_history() for folder in folders],
            summaries=[folder.read_summary() for folder in folders],
        )

    def details(self) -> dict[str, Any]:
        """The members' entries in summary.json of their combination: one value if they agree, else one per member."""
        details: dict[str, Any] = {"members": len(self.names)}
        for name in DETAILS:
            values = [summary.get(name) for summary in self.summaries]
            details[name] = values[0] if all(value == values[0] for value in values) else values
        return details


def _saved_validation(folders: Sequence[RunFolder]) -> list[Predictions]:
    """The saved logits of the validation images; none if one of the runs has none."""
    files = [folder.checked_predictions("validation") for folder in folders]
    return [Predictions.load(file) for file in files] if all(file.is_file() for file in files) else []


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """The shortest unique ends of the folders' paths, with the model's name if the models differ."""
    names = shortest_names([folder.path for folder in folders])
    models = [folder.read_config().model.name for folder in folders]
    several = len(set(models)) > 1
    return [f"{name} ({model})" if several else name for name, model in zip(names, models, strict=True)]


def write_ensemble_report(
    folder: Path,
    members: MemberResults,
    how: str,
    *,
    details: Mapping[str, Any],
    adjusted: tuple[str, Predictions] | None = None,
    images: UInt8[np.ndarray, "images height width 3"] | None = None,
    parts: Sequence[Part] = (),
) -> tuple[Predictions, dict[str, Any]]:
    """Combine the members by `how` and write the report into `folder`; returns the combination and its summary.

    If the combination was `adjusted`, by the name of an adjustment, that is what is reported and returned. `images` and
    `parts` are shown in report.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    methods = [other for other in COMBINATIONS if other != "weighted" or members.validation is not None]
    answers = {other: combine(members.predictions, other, validation=members.validation) for other in methods}
    extra: dict[str, Any] = {}
    shown = list(parts)
    if len(members.predictions) > 1:
        extra, compared = _write_comparison_with_members(folder, members, answers, how, adjusted)
        shown += compared
    histories = {name: history for name, history in zip(members.names, members.histories, strict=True) if history}
    if histories:
        member_curves_plot(folder / "curves.png", histories)
        shown.append(_curves_of_members(histories))
    answer = answers[how] if adjusted is None else adjusted[1]
    details = {**details, **extra}
    below: list[Part] = []
    if adjusted is None and details.get("split") == "test" and members.validation is not None:
        held_out = combine(members.validation, how, validation=members.validation)
        below = adjustment_parts(members.folders, held_out, answer)
    summary = write_report(
        folder, answer, [], chosen_epoch=None, details=details, images=images, parts=shown, below=below
    )
    return answer, summary


def _write_comparison_with_members(
    folder: Path,
    members: MemberResults,
    answers: Mapping[str, Predictions],
    how: str,
    adjusted: tuple[str, Predictions] | None,
) -> tuple[dict[str, Any], list[Part]]:
    """What it adds to the summary, and to the page."""
    predictions = answers[how]
    singles = [summarize(member) for member in members.predictions]
    mean = {column: _mean([single[column] for single in singles]) for column in COLUMNS}
    combined = {other: summarize(answer) for other, answer in answers.items()}
    rows = {f"member {name}": single for name, single in zip(members.names, singles, strict=True)}
    rows |= {"mean of the members": mean} | {f"ensemble, {other}": results for other, results in combined.items()}
    if adjusted is not None:
        rows[f"ensemble, {how}, {adjusted[0]}"] = summarize(adjusted[1])
    atomic.write_text(folder / "members.csv", csv_text(["model", *COLUMNS], [[n, *_cells(r)] for n, r in rows.items()]))
    atomic.write_text(folder / "members.txt", _table(rows))

    gains = class_gains(members.predictions, predictions)
    recalls = {other: class_metrics(answers[other]).recall for other in ("mean_probability", "mean_logit")}
    atomic.write_text(folder / "class_gains.csv", _gains_csv(gains, recalls, predictions.class_names))
    sizes = metrics_by_size(members.predictions, how, validation=members.validation)
    size_columns = ["members", *METRICS_BY_SIZE]
    atomic.write_text(
        folder / "ensemble_size.csv",
        csv_text(size_columns, [[f"{row[name]:.6g}" for name in size_columns] for row in sizes]),
    )
    ensemble_plot(folder / "ensemble.png", sizes, gains, predictions.class_names)
    extra: dict[str, Any] = {
        "mean_of_members": mean,
        "combinations": {other: {column: results[column] for column in COLUMNS} for other, results in combined.items()},
    }
    if members.validation is not None:
        extra["weights_by_validation"] = [round(float(w), 4) for w in mixture_weights(members.validation)]
    return extra, _parts(rows, sizes, gains, predictions.class_names)


def _parts(
    rows: Mapping[str, Mapping[str, Any]],
    sizes: Sequence[Mapping[str, float]],
    gains: ClassGains,
    class_names: Sequence[str],
) -> list[Part]:
    columns = ["model", *map(words, COLUMNS)]
    cells = [[Cell(name), *(number(row[column]) for column in COLUMNS)] for name, row in rows.items()]
    of_size: dict[float, list[Mapping[str, float]]] = {}
    for row in sizes:
        of_size.setdefault(row["members"], []).append(row)
    lines = {
        words(name): [(size, float(np.mean([row[name] for row in subsets]))) for size, subsets in of_size.items()]
        for name in ("accuracy", "worst_decile_recall", "worst_recall")
    }
    order = np.argsort(-gains.gain, kind="stable")
    ordered = [(class_names[k], float(gains.gain[k])) for k in order if not np.isnan(gains.gain[k])]
    return [
        Table("Members and combinations", columns, cells),
        lines_chart("By the number of members", lines, x="members", y="", note="Means over subsets of the members."),
        bars_chart("Gain of each class", ordered, y="recall less the members' mean"),
    ]


def _curves_of_members(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Part:
    measured, lines = {}, {}
    for name, history in histories.items():
        on = f"{evaluated_images(history)}_accuracy"
        measured[name] = on if any(line.get(on) is not None for line in history) else "train_accuracy"
    same = len(set(measured.values())) == 1
    for name, history in histories.items():
        column = measured[name]
        found = [(line["epoch"], line[column]) for line in history if line.get(column) is not None]
        label = member_label(name, histories)
        lines[label if same else f"{label}, {words(column)}"] = found
    y = words(next(iter(measured.values()))) if same else ""
    title = f"Accuracy of the {'members' if len(histories) > 1 else 'run'} by epoch"
    return lines_chart(title, lines, x="epoch", y=y)


def _mean(values: Sequence[float | None]) -> float | None:
    """None if any value is None: a member whose logits are not finite has no loss."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if len(present) == len(values) else None


def _cells(row: Mapping[str, Any]) -> list[str]:
    return ["" if row[column] is None else f"{row[column]:.4f}" for column in COLUMNS]


def _table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per model, columns as wide as their names."""
    width = max(len(name) for name in rows)
    lines = ["  ".join([" " * width, *COLUMNS])]
    for name, row in rows.items():
        cells = [cell.rjust(len(column)) for cell, column in zip(_cells(row), COLUMNS, strict=True)]
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join(lines) + "\n"


def _gains_csv(gains: ClassGains, recalls: Mapping[str, NDArray[np.float64]], class_names: Sequence[str]) -> str:
    names = ("mean_member_recall", "ensemble_recall", "gain", "disagreement", "mutual_information")
    columns = {name: getattr(gains, name) for name in names}
    columns |= {f"{how}_recall": recall for how, recall in recalls.items()}
    rows = []
    for index, name in enumerate(class_names):
        values = [column[index] for column in columns.values()]
        rows.append([index, name, *("" if np.isnan(value) else f"{value:.6f}" for value in values)])
    return csv_text(["class", "name", *columns], rows)
