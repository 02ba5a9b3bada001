"""Per-class results as text: the classification report, its CSV, and a short table for the terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.special import softmax

from cifar_imbalance.evidence.metrics import ClassMetrics
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.probabilities import Probabilities
from cifar_imbalance.report.csv_text import csv_text
from cifar_imbalance.terminal import one_line

ABSENT = "-"
NEVER_PREDICTED = "*"
ALL_CLASSES_UP_TO = 20
EXTREMES = 10
_WIDTH = 80
_ABSENT_NOTE = f"{ABSENT} absent: the class has no images; it is excluded from the averages"
_NEVER_PREDICTED_NOTE = f"{NEVER_PREDICTED} never predicted: the precision is set to 0"


def classification_report_text(metrics: ClassMetrics, summary: dict[str, Any], class_names: Sequence[str]) -> str:
    """A row for each class and the averages, in the layout of scikit-learn's classification_report."""
    digits = len(str(len(class_names) - 1))
    labels = [f"{index:>{digits}} {_one_line(name)}" for index, name in enumerate(class_names)]
    width = max(cell_len(label) for label in [*labels, "weighted avg"])

    counts = metrics.train_images

    def row(label: str, cells: Sequence[str], support: object, train: object = "", mark: str = " ") -> str:
        precision, recall, f1 = cells
        line = f"{padded(label, width)}  {precision:>9}{mark}{recall:>9} {f1:>9} {support!s:>9}"
        return line if counts is None else f"{line} {train!s:>12}"

    lines = [row("", ("precision", "recall", "f1-score"), "support", "train_images"), ""]
    for index, label in enumerate(labels):
        mark = NEVER_PREDICTED if metrics.never_predicted[index] else " "
        train = "" if counts is None else counts[index]
        lines.append(row(label, _cells(metrics, index), metrics.support[index], train, mark))
    images = summary["n_images"]
    columns = (metrics.precision, metrics.recall, metrics.f1)
    lines += [
        "",
        row("accuracy", ("", "", _number(summary["accuracy"])), images),
        row("macro avg", [_number(metrics.macro(column)) for column in columns], images),
        row("weighted avg", [_number(metrics.weighted(column)) for column in columns], images),
    ]
    notes = _notes(metrics, range(len(class_names)))
    return "\n".join([*lines, *(["", *notes] if notes else []), ""])


def classification_report_csv(metrics: ClassMetrics, probabilities: Probabilities, class_names: Sequence[str]) -> str:
    """A row for each class with all that is measured of it; unknown values are empty."""
    counts = metrics.train_images
    rows = []
    for index, name in enumerate(class_names):
        values = [metrics.precision[index], metrics.recall[index], metrics.f1[index]]
        values += [metrics.false_positive_rate[index], probabilities.confidence[index]]
        values += [probabilities.calibration_errors[index]]
        cells = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
        train = "" if counts is None else counts[index]
        rows.append([index, name, *cells, metrics.support[index], metrics.predicted_count[index], train])
    measures = ["precision", "recall", "f1", "false_positive_rate", "confidence", "calibration_error"]
    return csv_text(["class", "name", *measures, "support", "predicted", "train_images"], rows)


def auroc_csv(areas: NDArray[np.float64], class_names: Sequence[str]) -> str:
    """A row for each class with its area under the ROC curve, empty if it has none."""
    rows = [[k, name, "" if math.isnan(areas[k]) else f"{areas[k]:.6f}"] for k, name in enumerate(class_names)]
    return csv_text(["class", "name", "auroc"], rows)


def view_weights_csv(
    members: Sequence[str], weights: Sequence[NDArray[np.float64]], views: Sequence[str], class_names: Sequence[str]
) -> str:
    """A row for each member and class with the weight of each view, from [views, K] of each member."""
    rows = [
        [member, k, name, *(f"{weight:.4f}" for weight in of_member[:, k])]
        for member, of_member in zip(members, weights, strict=True)
        for k, name in enumerate(class_names)
    ]
    return csv_text(["member", "class", "name", *views], rows)


def errors_csv(predictions: Predictions) -> str:
    """The wrongly classified images, the surest error first: position, file, class, prediction, and the probabilities.

    The file is empty if the images are not files.
    """
    answers, labels, names = predictions.predicted, predictions.labels, predictions.class_names
    wrong = np.flatnonzero(answers != labels)
    chances = np.empty((len(wrong), 2))  # of the prediction and of the class
    for number, image in enumerate(wrong):  # one by one: of 10,000 classes, all probabilities need much memory
        row = softmax(predictions.logits[image].astype(np.float64))
        chances[number] = row[answers[image]], row[labels[image]]
    rows = []
    for number in np.argsort(-chances[:, 0], kind="stable"):
        image = wrong[number]
        file = "" if predictions.files is None else one_line(str(predictions.files[image]))
        shown = [f"{chance:.4f}" for chance in chances[number]]
        rows.append([predictions.indices[image], file, names[labels[image]], names[answers[image]], *shown])
    header = ["index", "file", "class", "predicted", "probability", "probability_of_class"]
    return csv_text(header, rows)


def terminal_table(metrics: ClassMetrics, summary: dict[str, Any], class_names: Sequence[str]) -> str:
    """Plain text, 80 columns: every class, or of more than 20 the ten worst and ten best by recall; then a summary."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", justify="right")
    table.add_column("name", no_wrap=True, overflow="ellipsis", max_width=28)
    for column in ("precision", "recall", "f1", "support"):
        table.add_column(column, justify="right", no_wrap=True)

    def add(indices: Sequence[int]) -> None:
        for index in indices:
            precision, recall, f1 = _cells(metrics, index)
            precision += NEVER_PREDICTED if metrics.never_predicted[index] else " "
            name = Text(_one_line(class_names[index]))
            table.add_row(str(index), name, precision, recall, f1, str(metrics.support[index]))

    shown: Sequence[int] = range(len(class_names))
    if len(class_names) <= ALL_CLASSES_UP_TO:
        add(shown)
        title = f"All {len(class_names)} classes"
    else:
        ranking = metrics.worst_first.tolist()
        # With few classes that have images the two ends would overlap.
        worst = ranking[:EXTREMES]
        best = ranking[EXTREMES:][-EXTREMES:]
        shown = worst + best
        add(worst)
        table.add_row("…", "")
        add(best)
        title = f"The {len(worst)} worst and {len(best)} best of {len(class_names)} classes by recall, worst first"
    text = io.StringIO()
    console = Console(
        file=text,
        width=_WIDTH,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(table)
    drawn = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    return "\n".join([title, *drawn, *_notes(metrics, shown), "", *_summary_lines(summary), ""])


def _summary_lines(summary: dict[str, Any]) -> list[str]:
    worst = summary["worst_class"]
    results = [(key, _number(summary[key])) for key in ("accuracy", "macro_precision", "macro_recall", "macro_f1")]
    results += [
        ("worst_class", f"{_number(worst['recall'])}  {_one_line(worst['name'])}"),
        ("worst_decile_recall", _number(summary["worst_decile_recall"])),
        ("recall_sd", f"{_number(summary['recall_sd'])}  between classes"),
    ]
    if summary["absent_classes"]:
        results.append(("absent_classes", str(len(summary["absent_classes"]))))
    if summary["never_predicted_classes"]:
        results.append(("never_predicted_classes", str(len(summary["never_predicted_classes"]))))
    width = max(len(key) for key, _ in results)
    return [f"{key:<{width}}  {value}" for key, value in results]


def _notes(metrics: ClassMetrics, shown: Sequence[int]) -> list[str]:
    """The meaning of the marks that occur in the classes `shown`."""
    indices = list(shown)
    absent = [_ABSENT_NOTE] if metrics.absent[indices].any() else []
    return absent + ([_NEVER_PREDICTED_NOTE] if metrics.never_predicted[indices].any() else [])


def _cells(metrics: ClassMetrics, index: int) -> tuple[str, str, str]:
    return _number(metrics.precision[index]), _number(metrics.recall[index]), _number(metrics.f1[index])


def _number(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:.4f}"


def padded(text: str, width: int) -> str:
    """`text` with spaces up to a width in columns of a terminal, where a Chinese letter takes two."""
    return text + " " * (width - cell_len(text))


def _one_line(name: str) -> str:
    return " ".join(name.split())
