"""The page of a single evaluation: a run's, an ensemble's, a checkpoint's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.evidence.metrics import class_metrics, confusion_matrix, recall_interval
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.page.charts import by_epoch_chart, lines_chart
from cifar_imbalance.report.page.mistakes import Mistakes
from cifar_imbalance.report.page.origin import origin
from cifar_imbalance.report.page.parts import Card, Cell, Confusions, Gallery, Page, Part, Table, count, number
from cifar_imbalance.report.plots.canvas import pair_in_words, words
from cifar_imbalance.report.plots.curves import evaluated_images
from cifar_imbalance.runs.folder import shortest_names

MATRIX_UP_TO = 1000  # classes; beyond, a cell would be less than a pixel
PAIRS = 50  # most confused ones
NAMED = 5  # runs in a title
History = Sequence[Mapping[str, Any]]


def run_page(
    folder: Path,
    predictions: Predictions,
    summary: Mapping[str, Any],
    history: History,
    *,
    recalls: Sequence[NDArray[np.float64]] = (),
    class_values: tuple[str, Sequence[NDArray[Any]]] | None = None,
    mistakes: Mistakes | None = None,
    parts: Sequence[Part] = (),
    below: Sequence[Part] = (),
) -> Page:
    """The page of `predictions`, of which the `mistakes` are shown where the images are known.

    `folder` is the run's, whose configuration and environment are given; `parts` are further ones, which come first,
    and others stand `below` the classes.
    """
    experiment = summary.get("experiment")
    title = f"{experiment} on {summary['dataset']}" if experiment and "dataset" in summary else experiment
    said = [_in_words(summary[name]) for name in ("model", "chosen_by") if summary.get(name)]
    settings = ["seed", *(["combine"] if summary.get("members") != 1 else []), "views", "adjust"]
    said += [f"{name} {_in_words(summary[name])}" for name in settings if name in summary]
    if summary.get("view_weights", "equal") != "equal":
        said.append(f"view weights {summary['view_weights']}")
    said.append(f"{summary['n_images']} {summary.get('split', '')} images")
    found = [*parts, *_confusions(predictions, mistakes, summary), _classes(predictions), *below]
    found += _curves(history)
    order = class_metrics(predictions).worst_first
    if recalls:
        on = f"recall on the {evaluated_images(history)} images"
        found.append(by_epoch_chart("Recall by epoch", recalls, predictions.class_names, order=order, value=on))
    if class_values is not None and class_values[1]:
        value, values = class_values
        name = f"{value.capitalize()} of each class by epoch, set by the controller"
        found.append(by_epoch_chart(name, values, predictions.class_names, order=order, value=value))
    return Page(
        title=title or f"Evaluation of {_names(summary.get('ckpt', 'predictions'))}",
        subtitle=", ".join(said),
        notice=f"The test images are {summary['test_images']}." if "test_images" in summary else "",
        cards=_cards(summary),
        parts=[*found, *origin(folder)],
    )


def _in_words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _names(ckpt: Any) -> str:
    names = shortest_names([Path(str(path)) for path in ([ckpt] if isinstance(ckpt, str) else ckpt)])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _cards(summary: Mapping[str, Any]) -> list[Card]:
    intervals = summary.get("intervals", {})
    labels = {
        "accuracy": "accuracy",
        "macro_f1": "macro F1",
        "worst_decile_recall": "recall of the worst decile",
        "worst_recall": f"recall of the worst class, {summary['worst_class']['name']}",
        "recall_sd": "sd of the classes' recalls",
        "calibration_error": "calibration error",
        "loss": "negative log-likelihood",
    }
    cards = []
    for name, label in labels.items():
        if summary.get(name) is None:
            continue
        low, high = intervals.get(name, (None, None))
        cards.append(Card(f"{summary[name]:.3f}", label, "" if low is None else f"95 %: {low:.3f} to {high:.3f}"))
    return cards


def _confusions(predictions: Predictions, mistakes: Mistakes | None, summary: Mapping[str, Any]) -> list[Part]:
    """The matrix, the table of most confused pairs, by which the keyboard reaches their images, and the gallery."""
    names = predictions.class_names
    classes = len(names)
    support = np.bincount(predictions.labels, minlength=classes)
    pairs, counts = np.unique(predictions.labels * classes + predictions.predicted, return_counts=True)
    cells = [(int(pair) // classes, int(pair) % classes, int(n)) for pair, n in zip(pairs, counts, strict=True)]
    parts: list[Part] = []
    shown = classes <= MATRIX_UP_TO
    if shown:
        shown_mistakes = () if mistakes is None else mistakes.sprite()
        parts.append(Confusions(names, cells, support.tolist(), *shown_mistakes))
    wrong = sorted((cell for cell in cells if cell[0] != cell[1]), key=lambda cell: -cell[2])[:PAIRS]
    rows = [
        [
            Cell(pair_in_words(names[t], names[p]), pair=(t, p) if shown else None),
            count(n),
            number(n / support[t]),
            number(next((m for a, b, m in cells if (a, b) == (p, t)), 0) / max(1, support[p])),
        ]
        for t, p, n in wrong
    ]
    columns = ["pair of classes", "images", "share of the class", "the other way round"]
    if rows:
        parts.append(Table("Most confused pairs", columns, rows))
    if mistakes is not None and mistakes.pairs:
        parts.append(mistakes.gallery(with_pairs=shown))
    elif mistakes is None and rows:
        elsewhere = "; the page of each run has those of its own mistakes" if "members" in summary else ""
        parts.append(Gallery(note=f"Not shown: this page was made of saved logits, without the images{elsewhere}."))
    return parts


def _classes(predictions: Predictions) -> Table:
    metrics, names = class_metrics(predictions), predictions.class_names
    low, high = recall_interval(metrics)
    matrix = confusion_matrix(predictions) if len(names) <= MATRIX_UP_TO else None
    counts = metrics.train_images
    columns = ["class", "recall", "95 % interval", "precision", "F1", "false-positive rate", "support"]
    columns += [
        *(["training images"] if counts is not None else []),
        *(["most often taken for"] if matrix is not None else []),
    ]
    rows = []
    for k in [*metrics.worst_first, *np.flatnonzero(metrics.absent)]:
        recall = number(metrics.recall[k])
        interval = Cell("-")
        if not metrics.absent[k]:
            recall = Cell(recall.text, recall.sort, float(metrics.recall[k]), (float(low[k]), float(high[k])))
            interval = Cell(f"{low[k]:.2f} to {high[k]:.2f}", float(low[k]))
        row = [Cell(names[k]), recall, interval, number(metrics.precision[k]), number(metrics.f1[k])]
        row += [number(metrics.false_positive_rate[k], 4), count(int(metrics.support[k]))]
        row += [count(int(counts[k]))] if counts is not None else []
        if matrix is not None:
            wrong = matrix[k].copy()
            wrong[k] = 0
            other = int(wrong.argmax())
            taken = f"{names[other]} ({wrong[other]})"
            row.append(Cell(taken, pair=(int(k), other)) if wrong[other] else Cell(""))
        rows.append(row)
    return Table("Classes", columns, rows, "Worst recall first; the line in a bar is the 95 % interval (Wilson).")


def _curves(history: History) -> list[Part]:
    if not history:
        return []
    on = evaluated_images(history)

    def points(name: str) -> list[tuple[float, float]]:
        return [(line["epoch"], line[name]) for line in history if line.get(name) is not None]

    losses = {"training": points("train_loss"), on: points(f"{on}_loss")}
    results = {
        "training accuracy": points("train_accuracy"),
        **{words(f"{on}_{name}"): points(f"{on}_{name}") for name in ("accuracy", "macro_f1", "worst_recall")},
    }
    rates = [
        (line["epoch"] - 1 + place, line[name]) for line in history for place, name in enumerate(("lr_start", "lr_end"))
    ]
    of_phase = groupby(history, lambda line: line.get("phase", "training"))
    phases = [(phase, [line["epoch"] for line in lines]) for phase, lines in of_phase]
    note = (
        "; ".join(f"{phase}: epochs {epochs[0]} to {epochs[-1]}" for phase, epochs in phases) if len(phases) > 1 else ""
    )
    return [
        lines_chart("Accuracy by epoch", results, x="epoch", y=""),
        lines_chart("Loss by epoch", losses, x="epoch", y="loss"),
        lines_chart("Learning rate", {"learning rate": rates}, x="epoch", y="", note=note, height=240),
    ]
