"""A report: one folder with tables, results as JSON and plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.evidence.metrics import class_metrics, confusion_matrix, intervals_and_confusions, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.probabilities import measured
from cifar_imbalance.evidence.significance import TEST_IMAGES_ALONE
from cifar_imbalance.report import tables
from cifar_imbalance.report.page.mistakes import Mistakes
from cifar_imbalance.report.page.of_run import run_page
from cifar_imbalance.report.page.parts import Part
from cifar_imbalance.report.page.write import write_page
from cifar_imbalance.report.plots.classes import CELLS_UP_TO, confusion_plot, per_class_plot
from cifar_imbalance.report.plots.curves import curves_plot, evaluated_images, learning_rate_plot
from cifar_imbalance.report.plots.images import gallery_plot
from cifar_imbalance.report.plots.recalls import recall_by_epoch_plot, value_by_epoch_plot
from cifar_imbalance.runs.stored import sealed


def write_report(
    folder: Path,
    predictions: Predictions,
    history: Sequence[Mapping[str, Any]],
    *,
    chosen_epoch: int | None,
    details: Mapping[str, Any],
    recalls: Sequence[NDArray[np.float64]] = (),
    class_values: tuple[str, Sequence[NDArray[Any]]] | None = None,
    images: UInt8[np.ndarray, "images height width 3"] | None = None,
    parts: Sequence[Part] = (),
    below: Sequence[Part] = (),
) -> dict[str, Any]:
    """Write tables, summary.json, plots and report.html of `predictions` into `folder`, which is made if there is none.

    `history` is one mapping per epoch, as in metrics.jsonl, `recalls` the recall of each class [K] after each epoch,
    `class_values` what a controller sets, "weight" or "level", and its values [K] in each epoch; without them their
    plots are omitted. `images` are those of the predictions, whose mistakes gallery.png shows, and report.html between
    `parts` and those `below`.
    `details` (how the epoch was chosen, which split, which run) come first in summary.json; a result of the same name
    overrides one. Returns the content of summary.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metrics, names = class_metrics(predictions), predictions.class_names
    found = {**summarize(predictions), **intervals_and_confusions(predictions)}
    summary = {**details, **found, "uncertainty": TEST_IMAGES_ALONE}
    text = tables.classification_report_text(metrics, summary, names)
    atomic.write_text(folder / "classification_report.txt", text)
    atomic.write_text(
        folder / "classification_report.csv", tables.classification_report_csv(metrics, measured(predictions), names)
    )
    atomic.write_text(folder / "errors.csv", tables.errors_csv(predictions))
    group = math.ceil(len(names) / CELLS_UP_TO)
    confusion_plot(folder / "confusion.png", confusion_matrix(predictions, group), names, group=group)
    per_class_plot(folder / "per_class.png", metrics, names)
    if history:
        curves_plot(folder / "curves.png", history, chosen_epoch)
        learning_rate_plot(folder / "learning_rate.png", history, chosen_epoch)
    if recalls:
        recall_by_epoch_plot(folder / "recall_by_epoch.png", recalls, names, images=evaluated_images(history))
    if recalls and class_values is not None:
        value, values = class_values
        value_by_epoch_plot(folder / f"{value}_by_epoch.png", values, names, value=value, final_recalls=recalls[-1])
    mistakes = None if images is None else Mistakes(predictions, images)
    if mistakes is not None and mistakes.pairs:
        gallery_plot(folder / "gallery.png", mistakes.worst(), mistakes.image, names)
    page = run_page(
        folder.parent,
        predictions,
        summary,
        history,
        recalls=recalls,
        class_values=class_values,
        mistakes=mistakes,
        parts=parts,
        below=below,
    )
    write_page(folder / "report.html", page)
    # Last: if the summary exists, the report is complete.
    atomic.write_json(folder / "summary.json", sealed(summary))
    return summary
