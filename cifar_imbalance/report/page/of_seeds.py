"""The page of runs of many seeds beside a reference of many seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cifar_imbalance.report.groups import hard_in_words
from cifar_imbalance.report.page.charts import front_chart, intervals_chart, scatter_chart
from cifar_imbalance.report.page.parts import Card, Cell, Chart, Page, Part, Table, Text, number
from cifar_imbalance.report.plots.canvas import words

if TYPE_CHECKING:
    from cifar_imbalance.report.seeds import SeedComparison

ALIKE = "Their configurations are the same, as far as they change results."
INTERVAL = "95 % interval"


def seeds_page(found: SeedComparison, *, reference: str, runs: str, text: str, origin: Sequence[Part]) -> Page:
    """`reference` and `runs` are the names of the two sides, `text` the whole in words, `origin` how it came about."""
    order = [int(k) for k in np.argsort(found.classes.difference, kind="stable")]  # a class without images last
    known = [k for k in order if not np.isnan(found.classes.difference[k])]
    return Page(
        f"{runs} compared with {reference}",
        f"{found.seeds_in_words}; differences are of the runs less the reference",
        _cards(found),
        [
            _metrics(found, reference, runs),
            _front(found, reference, runs),
            _differences(found, known),
            _recalls(found, known, reference, runs),
            _classes(found, order, reference, runs),
            Text("In words", text),
            *origin,
        ],
    )


def _cards(found: SeedComparison) -> list[Card]:
    metrics = found.metrics
    return [
        Card(f"{metrics.difference[k]:+.4f}", words(name), f"95 %: {metrics.low[k]:+.3f} to {metrics.high[k]:+.3f}")
        for k, name in enumerate(found.names)
    ]


def _metrics(found: SeedComparison, reference: str, runs: str) -> Table:
    notes = ["Means ± the sample standard deviation over the seeds."]
    notes += [f"They differ in {'; '.join(found.fields)}." if found.fields else ALIKE]
    notes += [f"The {hard_in_words('the reference', found.hard_names)}."] if found.hard_names else []
    rows = []
    for k, name in enumerate(found.names):
        first, second, interval = found.metric_in_words(k)
        row = [
            Cell(words(name)),
            Cell(first, float(found.metrics.first_mean[k])),
            Cell(second, float(found.metrics.second_mean[k])),
            number(found.metrics.difference[k], 4, signed=True),
            Cell(interval, float(found.metrics.low[k])),
        ]
        rows.append(row)
    return Table("Over the seeds", ["metric", reference, runs, "difference", INTERVAL], rows, " ".join(notes))


def _front(found: SeedComparison, reference: str, runs: str) -> Chart:
    points = {
        name: [(result.metrics["accuracy"], result.metrics["worst_decile_recall"]) for result in side]
        for name, side in ((reference, found.theirs), (runs, found.ours))
    }
    note = "Runs small, their means large, bars: sample standard deviation."
    return front_chart("Accuracy and worst decile", points, x="accuracy", y=words("worst_decile_recall"), note=note)


def _differences(found: SeedComparison, shown: Sequence[int]) -> Chart:
    classes, verdicts = found.classes, found.verdicts
    values = [
        (found.class_names[k], float(classes.difference[k]), float(classes.low[k]), float(classes.high[k]))
        for k in shown
    ]
    return intervals_chart(
        "Difference of each class",
        values,
        [verdicts[k] for k in shown],
        x="difference of mean recall",
        note="Lines: 95 % interval over the seeds. Gained, lost: beyond the spread over the seeds, for the "
        "number of classes.",
    )


def _recalls(found: SeedComparison, shown: Sequence[int], reference: str, runs: str) -> Chart:
    classes = found.classes
    means = [(found.class_names[k], float(classes.first_mean[k]), float(classes.second_mean[k])) for k in shown]
    title = "Mean recall of each class"
    return scatter_chart(title, means, x=f"recall of {reference}", y=f"recall of {runs}", diagonal=True)


def _classes(found: SeedComparison, order: Sequence[int], reference: str, runs: str) -> Table:
    classes, verdicts = found.classes, found.verdicts
    columns = ["class", reference, "sd", runs, "sd", "difference", INTERVAL, "p", "adjusted p", "verdict"]
    rows = []
    for k in order:
        low, high = float(classes.low[k]), float(classes.high[k])
        row = [
            Cell(found.class_names[k]),
            number(classes.first_mean[k]),
            number(classes.first_sd[k]),
            number(classes.second_mean[k]),
            number(classes.second_sd[k]),
            number(classes.difference[k], signed=True),
            Cell("-") if np.isnan(low) else Cell(f"{low:+.3f} to {high:+.3f}", low),
            number(classes.p[k], 4),
            number(classes.adjusted_p[k], 4),
            Cell(verdicts[k]),
        ]
        rows.append(row)
    return Table("Class by class", columns, rows)
