"""The page of a table of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cifar_imbalance.report.groups import (
    HARD,
    METRICS,
    Result,
    cell_text,
    hard_in_words,
    mean_recalls,
    shown_groups,
)
from cifar_imbalance.report.page.charts import front_chart
from cifar_imbalance.report.page.parts import Cell, Page, Part, Table, Text, count, number
from cifar_imbalance.report.plots.canvas import words


def _interval(mean: float, half: float | None) -> Cell:
    return number(None) if half is None else Cell(f"{mean - half:+.4f} to {mean + half:+.4f}", mean - half)


def _mean(row: Mapping[str, Any], column: str) -> Cell:
    """With its standard deviation, which goes to a line below as a whole if it must."""
    return replace(number(row[column]), text=cell_text(row, column).replace("± ", "±\u00a0"))


def sweep_page(
    groups: Mapping[str, Sequence[Result]],
    rows: Mapping[str, Mapping[str, Any]],
    published: Sequence[Mapping[str, str]],
    compared: Mapping[str, Mapping[str, Any]],
    baseline: str,
    group_by: str,
    text: str,
    hard_names: Sequence[str],
    origin: Sequence[Part],
) -> Page:
    """`rows` are the table, `compared` the differences from the `baseline`, `text` the whole in words, `origin` how it
    came about."""
    parts: list[Part] = []
    first = next(iter(rows.values()))
    shown = [*(name for name in (*METRICS, HARD) if name in first), *shown_groups(first)]
    cells = [
        [Cell(name), count(row["n"]), *(_mean(row, column) for column in (*shown, "seconds"))]
        for name, row in rows.items()
    ]
    note = "Means over seeds, ± the sample standard deviation; accuracy is that of the reported epoch."
    if hard_names:
        note += f" The {hard_in_words(baseline, hard_names)}."
    parts.append(Table("Groups", [group_by, "n", *map(words, shown), "seconds"], cells, note))
    for metric in [name for name in ("worst_decile_recall", HARD) if name in first]:
        points = {name: [(r.metrics["accuracy"], r.metrics[metric]) for r in group] for name, group in groups.items()}
        title = f"Accuracy and {words(metric)}"
        note = "Runs small, their means large, bars: sample standard deviation."
        parts.append(front_chart(title, points, x="accuracy", y=words(metric), note=note))
    differences = [
        (name, metric, found["n"], mean, half)
        for name, found in compared.items()
        for metric, (mean, half) in found["differences"].items()
    ]
    if differences:
        several = any(half is not None for *_, half in differences)
        columns = [group_by, "metric", "n", "difference", *(["95 % interval over the seeds"] if several else [])]
        cells = [
            [Cell(name), Cell(words(metric)), count(n), number(mean, 4, signed=True)]
            + ([_interval(mean, half)] if several else [])
            for name, metric, n, mean, half in differences
        ]
        title = f"Differences from {baseline}, of runs of the same seed"
        parts.append(Table(title, columns, cells, f"n: the seeds that a group has in common with {baseline}."))
    runs = [
        [
            Cell(name),
            count(result.seed),
            *(number(result.metrics[metric]) for metric in shown),
            Cell(result.run.path.name),
        ]
        for name, group in groups.items()
        for result in group
    ]
    parts.append(Table("Runs", [group_by, "seed", *map(words, shown), "folder"], runs))
    recalls = {name: mean_recalls(group) for name, group in groups.items()}
    names = next(iter(groups.values()))[0].predictions.class_names
    classes = [[Cell(name), *(number(recall[k]) for recall in recalls.values())] for k, name in enumerate(names)]
    parts.append(Table("Mean recall of each class", ["class", *recalls], classes))
    if published:
        columns = ["method", "accuracy", "epoch", "n", "recipe", "source"]
        listed = [[Cell(row[column] or "-") for column in columns] for row in published]
        parts.append(Table("Published and repeated, in per cent of accuracy", columns, listed))
    parts += [Text("In words", text), *origin]
    of_runs = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    if len(groups) == 1:
        return Page(f"{group_by} {baseline}", of_runs, [], parts)
    return Page(f"{len(groups)} groups by {group_by}", f"{of_runs}, compared with {baseline}", [], parts)
