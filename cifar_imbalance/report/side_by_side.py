"""A run beside a reference: which classes gained and lost, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.metrics import class_metrics, summarize
from cifar_imbalance.predictions import Predictions
from cifar_imbalance.report import plots
from cifar_imbalance.report.reference import Reference
from cifar_imbalance.report.tables import csv_text
from cifar_imbalance.significance import difference_interval, paired_test

FIGURES = ("precision", "recall", "f1")
SUMMARY = ("accuracy", "macro_precision", "macro_recall", "macro_f1")


def write_side_by_side(folder: Path, predictions: Predictions, reference: Reference) -> str:
    """Write side_by_side.txt, .csv and .png into `folder`; gives the text's head, without the table of the classes."""
    ours, names = class_metrics(predictions), predictions.class_names
    difference = ours.recall - reference.recall
    if reference.predictions is not None:
        test = paired_test(reference.predictions, predictions)
        beyond = test.beyond_noise
        evidence = {"won": test.won, "lost": test.lost, "p": test.p, "adjusted_p": test.adjusted_p}
        how = (
            "gained, lost: McNemar's exact test on the same images, p adjusted for the number of classes "
            "(Benjamini-Hochberg) at most 0.05"
        )
    else:
        low, high = difference_interval(
            reference.recall, ours.recall, images_1=reference.support, images_2=ours.support
        )
        beyond = (low > 0) | (high < 0)
        evidence = {"difference_low": low, "difference_high": high}
        compared = int(np.sum(~np.isnan(difference)))
        how = (
            "gained, lost: the 95 % interval of the difference (Newcombe) leaves out 0; of "
            f"{compared} equal classes about {0.05 * compared:.0f} would by chance"
        )
    verdicts = np.select([beyond & (difference > 0), beyond & (difference < 0)], ["gained", "lost"], "").tolist()
    header = ["class", "name", *(f"{whose}_{name}" for name in FIGURES for whose in ("reference", "run"))]
    rows = []
    for k, name in enumerate(names):
        pairs = [(getattr(reference, figure)[k], getattr(ours, figure)[k]) for figure in FIGURES]
        figures = [_digits(value) for pair in pairs for value in pair]
        rows.append(
            [k, name, *figures, _digits(difference[k]), *(_digits(v[k]) for v in evidence.values()), verdicts[k]]
        )
    atomic.write_text(folder / "side_by_side.csv", csv_text([*header, "recall_difference", *evidence, "verdict"], rows))
    head = _head(predictions, reference, difference, verdicts, how)
    atomic.write_text(
        folder / "side_by_side.txt", f"{head}\n\n{_table(reference, ours.recall, difference, verdicts, names)}"
    )
    plots.side_by_side_plot(
        folder / "side_by_side.png", reference.recall, ours.recall, verdicts, names, reference.source
    )
    return head


def _head(
    predictions: Predictions,
    reference: Reference,
    difference: NDArray[np.float64],
    verdicts: Sequence[str],
    how: str,
) -> str:
    names, summary = predictions.class_names, summarize(predictions)
    compared = ~np.isnan(difference)
    lines = [f"Side by side with {reference.source}", "", f"{'':16}  reference     run  difference"]
    for figure in SUMMARY:
        theirs, own = reference.summary[figure], summary[figure]
        lines.append(f"{figure:16}  {theirs:>9.4f}  {own:.4f}  {own - theirs:>+10.4f}")
    theirs = float(np.mean(reference.recall[compared]))
    own = float(np.mean((reference.recall + difference)[compared]))
    label = f"recall of {compared.sum()}"
    lines.append(
        f"{label:16}  {theirs:>9.4f}  {own:.4f}  {own - theirs:>+10.4f}   the classes that both have figures of"
    )
    for word in ("gained", "lost"):
        which = [index for index in np.argsort(-np.abs(difference)) if verdicts[index] == word]
        listed = ", ".join(f"{names[k]} {difference[k]:+.2f}" for k in which)
        lines += ["", f"{word}: {len(which)} classes" + (f": {listed}" if listed else "")]
    lines += ["", how]
    if reference.contradictions:
        lines += ["", "The reference contradicts itself:", *(f"- {line}" for line in reference.contradictions)]
    return "\n".join(lines)


def _table(
    reference: Reference,
    recall: NDArray[np.float64],
    difference: NDArray[np.float64],
    verdicts: Sequence[str],
    names: Sequence[str],
) -> str:
    """Recall of every class, largest loss first; classes that the reference leaves out at the end."""
    width = max(len(name) for name in names)
    lines = [f"class  {'name':{width}}  reference     run  difference"]
    for k in np.argsort(difference):  # NaN last
        cells = [f"{value:.4f}" if np.isfinite(value) else "-" for value in (reference.recall[k], recall[k])]
        change = f"{difference[k]:+.4f}" if np.isfinite(difference[k]) else "-"
        lines.append(f"{k:>5}  {names[k]:{width}}  {cells[0]:>9}  {cells[1]:>6}  {change:>10}  {verdicts[k]}".rstrip())
    return "\n".join(lines) + "\n"


def _digits(value: float | np.integer) -> str:
    if isinstance(value, np.integer):
        return str(value)
    return "" if np.isnan(value) else f"{value:.6g}"
