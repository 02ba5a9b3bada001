"""Comparison of a run with a reference: which classes gained or lost, and whether significantly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from cifar_imbalance import atomic
from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.significance import (
    FALSE_DISCOVERY_RATE,
    FEWEST_IMAGES,
    TEST_IMAGES_ALONE,
    difference_interval,
    paired_test,
)
from cifar_imbalance.report.csv_text import csv_text
from cifar_imbalance.report.page.charts import scatter_chart
from cifar_imbalance.report.page.parts import Cell, Part, Table, Text, number
from cifar_imbalance.report.plots.comparisons import side_by_side_plot
from cifar_imbalance.report.reference import Reference
from cifar_imbalance.report.tables import padded
from cifar_imbalance.terminal import count_of_classes

METRICS = ("precision", "recall", "f1")
SUMMARY = ("accuracy", "macro_precision", "macro_recall", "macro_f1")


def write_side_by_side(
    folder: Path, predictions: Predictions, reference: Reference, *, run: str, differences: Sequence[str]
) -> tuple[str, list[Part]]:
    """Write side_by_side.txt, .csv and .png into `folder`, which is made if there is none.

    Returns the text's head, without the per-class table, and what is shown of it in report.html.

    `run` is the name of the evaluated run in the plot, `differences` say in what it is not like the reference.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ours, names = class_metrics(predictions), predictions.class_names
    difference = ours.recall - reference.recall
    evidence: dict[str, NDArray[Any]]
    if reference.predictions is not None:
        test = paired_test(reference.predictions, predictions)
        beyond = test.beyond_noise
        evidence = {"only_run": test.only_second, "only_reference": test.only_first}
        evidence |= {"p": test.p, "adjusted_p": test.adjusted_p}
        how = (
            "gained, lost: McNemar's exact test on the same images (only_run, only_reference: images that only one of "
            f"them has right), p adjusted for the number of classes (Benjamini-Hochberg) at most {FALSE_DISCOVERY_RATE}"
        )
        if few := int(np.sum(ours.support < FEWEST_IMAGES)):
            how += f"; {few} of {len(names)} classes have fewer than {FEWEST_IMAGES} images, too few to find anything"
    else:
        low, high = difference_interval(
            reference.recall, ours.recall, images_1=reference.support, images_2=ours.support
        )
        beyond = (low > 0) | (high < 0)
        evidence = {"low": low, "high": high}
        compared = int(np.sum(~np.isnan(difference)))
        how = (
            "gained, lost: the 95 % interval of the difference of recalls (low, high; Newcombe) excludes 0; of "
            f"{compared} classes without a difference about {0.05 * compared:.0f} would by chance"
        )
    verdicts = np.select([beyond & (difference > 0), beyond & (difference < 0)], ["gained", "lost"], "").tolist()
    columns: dict[str, NDArray[Any]] = {}
    for name in METRICS:
        theirs, own = getattr(reference, name), getattr(ours, name)
        columns |= {f"reference_{name}": theirs, f"run_{name}": own, f"{name}_difference": own - theirs}
    columns |= evidence
    rows = [[k, name, *(_digits(c[k]) for c in columns.values()), verdicts[k]] for k, name in enumerate(names)]
    atomic.write_text(folder / "side_by_side.csv", csv_text(["class", "name", *columns, "verdict"], rows))
    head = _head(predictions, reference, difference, verdicts, how, differences)
    # By the difference, where there is none after the others by our recall, and equal ones by class.
    order = np.lexsort((ours.recall, np.nan_to_num(difference, nan=np.inf)))
    table = _table(columns, verdicts, names, order=order)
    atomic.write_text(folder / "side_by_side.txt", f"{head}\n\n{table}")
    side_by_side_plot(
        folder / "side_by_side.png",
        reference.recall,
        ours.recall,
        verdicts,
        names,
        title=f"{run} compared with {reference.source}",
    )
    return head, _parts(head, reference.recall, ours.recall, verdicts, names, order)


def _parts(
    head: str,
    theirs: NDArray[np.float64],
    ours: NDArray[np.float64],
    verdicts: Sequence[str],
    names: Sequence[str],
    order: NDArray[np.int64],
) -> list[Part]:
    rows = [
        [
            Cell(names[k]),
            number(theirs[k]),
            number(ours[k]),
            number(ours[k] - theirs[k], signed=True),
            Cell(verdicts[k]),
        ]
        for k in order
    ]
    points = [(name, float(theirs[k]), float(ours[k])) for k, name in enumerate(names)]
    return [
        scatter_chart("Side by side", points, x="recall of the reference", y="recall of the run", diagonal=True),
        Table("Side by side, class by class", ["class", "reference", "run", "difference", "verdict"], rows),
        Text("Side by side, in words", head),
    ]


def _head(
    predictions: Predictions,
    reference: Reference,
    difference: NDArray[np.float64],
    verdicts: Sequence[str],
    how: str,
    differences: Sequence[str],
) -> str:
    names, summary = predictions.class_names, summarize(predictions)
    compared = ~np.isnan(difference)
    different = ["They differ in:", *(f"- {line}" for line in differences)]
    same = ["Model, epochs and data are the same as far as is known."]
    lines = [
        f"Side by side with {reference.source}",
        "",
        *(different if differences else same),
        "",
        f"{'':16}  reference     run  difference",
    ]
    results = {f"{name} (text)": (value, summary[name], "") for name, value in reference.in_text.items()}
    results |= {name: (reference.summary[name], summary[name], reference.remarks.get(name, "")) for name in SUMMARY}
    theirs = float(np.mean(reference.recall[compared]))
    own = float(np.mean((reference.recall + difference)[compared]))
    if not compared.all():
        results[f"recall of {compared.sum()}"] = (theirs, own, "mean over the classes that both have results for")
    for name, (first, second, remark) in results.items():
        line = f"{name:16}  {first:>9.4f}  {second:.4f}  {second - first:>+10.4f}"
        lines.append(f"{line}   ({remark})" if remark else line)
    for word in ("gained", "lost"):
        which = [index for index in np.argsort(-np.abs(difference)) if verdicts[index] == word]
        listed = ", ".join(f"{names[k]} {difference[k]:+.2f}" for k in which)
        lines += ["", f"{word}: {count_of_classes(len(which))}" + (f": {listed}" if listed else "")]
    lines += ["", how, TEST_IMAGES_ALONE]
    if reference.contradictions:
        lines += ["", "The reference contradicts itself:", *(f"- {line}" for line in reference.contradictions)]
    return "\n".join(lines)


def _table(
    columns: Mapping[str, NDArray[Any]], verdicts: Sequence[str], names: Sequence[str], order: NDArray[np.int64]
) -> str:
    """A line for each class, the largest loss first: theirs, ours and the difference of each metric, the evidence."""
    width = max(cell_len(name) for name in names)
    short = {"reference": "theirs", "run": "ours"}
    heads = [short.get(name.split("_")[0], "differ." if name.endswith("difference") else name) for name in columns]
    over = "".join(f"{name:^24}" for name in METRICS)
    lines = [
        f"{'':5}  {'':{width}}{over}".rstrip(),
        f"class  {'name':{width}}" + "".join(f"{head:>{_width(head)}}" for head in heads),
    ]
    for k in order:
        cells = [
            f"{_cell(name, values[k]):>{_width(head)}}"
            for (name, values), head in zip(columns.items(), heads, strict=True)
        ]
        lines.append(f"{k:>5}  {padded(names[k], width)}{''.join(cells)}  {verdicts[k]}".rstrip())
    return "\n".join(lines) + "\n"


def _width(head: str) -> int:
    return max(8, len(head) + 2)


def _cell(name: str, value: float | np.integer) -> str:
    if isinstance(value, np.integer):
        return str(value)
    if np.isnan(value):
        return "-"
    return f"{value:+.2f}" if name.endswith("difference") else f"{value:.2g}" if name.endswith("p") else f"{value:.2f}"


def _digits(value: float | np.integer) -> str:
    if isinstance(value, np.integer):
        return str(value)
    return "" if np.isnan(value) else f"{value:.6g}"
