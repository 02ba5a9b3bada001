"""Runs of many seeds side by side with a reference of many seeds: what differs beyond the spread over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.evidence.metrics import class_metrics
from cifar_imbalance.evidence.seeds import (
    Pairing,
    SeedDifferences,
    fewest_deviations,
    pairing,
    seed_differences,
)
from cifar_imbalance.evidence.significance import FALSE_DISCOVERY_RATE
from cifar_imbalance.report.csv_text import csv_text
from cifar_imbalance.report.groups import HARD, METRICS, Result, hard_decile, hard_in_words
from cifar_imbalance.report.page.charts import front_chart, intervals_chart, scatter_chart
from cifar_imbalance.report.page.of_run import origin
from cifar_imbalance.report.page.parts import Card, Cell, Page, Table, Text, number
from cifar_imbalance.report.page.write import write_page
from cifar_imbalance.report.plots.canvas import words
from cifar_imbalance.report.plots.comparisons import class_differences_plot
from cifar_imbalance.report.reference import differing
from cifar_imbalance.runs.folder import shortest_names
from cifar_imbalance.runs.seeds import OF_SEED
from cifar_imbalance.terminal import count_of_classes

COLUMNS = (  # of a line of numbers: the field, and its name in the files
    ("first_mean", "reference"),
    ("first_sd", "reference_sd"),
    ("second_mean", "run"),
    ("second_sd", "run_sd"),
    ("difference", "difference"),
    ("low", "low"),
    ("high", "high"),
)
ALIKE = "Their configurations are the same, as far as they change results."
TESTED = (*COLUMNS, ("p", "p"), ("adjusted_p", "adjusted_p"))


def write_seeds_side_by_side(
    folder: Path, theirs: Sequence[Result], ours: Sequence[Result], *, reference: str, runs: str
) -> str:
    """Write side_by_side.txt, .csv, .png, side_by_side_metrics.csv and report.html into `folder`, made if needed.

    `theirs` are the runs of the folder `reference`, `ours` those of the folder `runs`, all on the same images, two or
    more of each. Returns the text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hard = hard_decile(theirs)
    if hard is not None:
        theirs, ours = ([result.with_hard(hard) for result in side] for side in (theirs, ours))
    pairs = pairing([result.seed for result in theirs], [result.seed for result in ours])
    compared = [theirs[k] for k in pairs.first], [ours[k] for k in pairs.second]
    names = [name for name in (*METRICS[:4], HARD) if name in theirs[0].metrics]
    metrics = seed_differences(
        *(np.array([[result.metrics[name] for name in names] for result in side]) for side in compared),
        paired=pairs.is_paired,
    )
    support = class_metrics(theirs[0].predictions).support
    classes = seed_differences(
        *(np.stack([result.recalls for result in side]) for side in compared),
        paired=pairs.is_paired,
        steps=1 / np.maximum(support, 1),
    )
    class_names = theirs[0].predictions.class_names
    gained = classes.beyond_noise & (classes.difference > 0)
    lost = classes.beyond_noise & (classes.difference < 0)
    verdicts = np.select([gained, lost], ["gained", "lost"], "").tolist()
    atomic.write_text(folder / "side_by_side_metrics.csv", _metrics_csv(metrics, names, pairs))
    atomic.write_text(folder / "side_by_side.csv", _classes_csv(classes, class_names, verdicts))
    hard_names = [] if hard is None else [class_names[k] for k in hard]
    different = _differences(compared)
    paths = reference, runs
    text = _text(metrics, names, classes, class_names, verdicts, pairs, compared, paths, hard_names, different)
    atomic.write_text(folder / "side_by_side.txt", text)
    short = shortest_names([Path(reference), Path(runs)])
    class_differences_plot(
        folder / "side_by_side.png",
        *(classes.difference, classes.low, classes.high),
        verdicts,
        class_names,
        title=f"{short[1]} less {short[0]}, {_seeds_in_words(pairs)}",
    )
    notes = [f"They differ in {'; '.join(different)}." if different else ALIKE]
    notes += [f"The {hard_in_words('the reference', hard_names)}."] if hard_names else []
    page = _page(folder, metrics, names, classes, class_names, verdicts, pairs, (theirs, ours), short, text, notes)
    write_page(folder / "report.html", page)
    return text


def _seeds_in_words(pairs: Pairing) -> str:
    if pairs.is_paired:
        return f"{len(pairs.seeds)} pairs of one seed"
    return f"{len(pairs.second)} runs and {len(pairs.first)} of the reference, not paired"


def _how(pairs: Pairing, compared: tuple[Sequence[Result], Sequence[Result]], classes: int) -> list[str]:
    """The tests in words."""
    if pairs.is_paired:
        lines = [
            f"Paired by the seeds that both have: {', '.join(map(str, pairs.seeds))}; n = {len(pairs.seeds)}. Interval "
            "and p: Student's t of the pairs' differences."
        ]
    else:
        seeds = [", ".join(str(result.seed) for result in side) for side in compared]
        lines = [
            "Not paired, since fewer than two seeds are in both: reference "
            f"{seeds[0]} (n = {len(compared[0])}), runs {seeds[1]} (n = {len(compared[1])}). Interval and p: Welch's t."
        ]
    lines.append(
        f"± : sample standard deviation over the seeds. Gained, lost: p, adjusted for {classes} classes "
        f"(Benjamini-Hochberg), at most {FALSE_DISCOVERY_RATE}; the variance of a recall counts as at least that of "
        "rounding to whole images."
    )
    if pairs.is_paired:
        fewest = fewest_deviations(len(pairs.seeds), classes)
        lines.append(
            f"With n = {len(pairs.seeds)}, the only class that differs must do so by {fewest:.1f} standard deviations "
            "of its differences to count."
        )
    lines.append("The spread over the seeds includes initialisation, order and augmentation, not another test set.")
    return lines


def _text(
    metrics: SeedDifferences,
    names: Sequence[str],
    classes: SeedDifferences,
    class_names: Sequence[str],
    verdicts: Sequence[str],
    pairs: Pairing,
    compared: tuple[Sequence[Result], Sequence[Result]],
    paths: tuple[str, str],
    hard_names: Sequence[str],
    different: Sequence[str],
) -> str:
    lines = [f"{paths[1]} side by side with {paths[0]}, {_seeds_in_words(pairs)}", ""]
    lines += ["They differ in:", *(f"- {line}" for line in different)] if different else [ALIKE]
    lines += ["", f"{'':20}  {'reference':>15}  {'runs':>15}  difference  95 % interval"]
    for k, name in enumerate(names):
        first, second, interval = _in_words(metrics, k)
        lines.append(f"{name:20}  {first:>15}  {second:>15}  {metrics.difference[k]:>+10.4f}  {interval}")
    if hard_names:
        lines += ["", hard_in_words("the reference", hard_names)]
    for word in ("gained", "lost"):
        which = [k for k in np.argsort(-np.abs(classes.difference)) if verdicts[k] == word]
        listed = ", ".join(f"{class_names[k]} {classes.difference[k]:+.3f}" for k in which)
        lines += ["", f"{word}: {count_of_classes(len(which))}" + (f": {listed}" if listed else "")]
    outside = (classes.low > 0) | (classes.high < 0)
    known = int((~np.isnan(classes.difference)).sum())
    lines += [
        "",
        f"The 95 % interval of {count_of_classes(int(outside.sum()))} excludes 0; without any difference that of about "
        f"{0.05 * known:.2g} would.",
        *_how(pairs, compared, known),
    ]
    return "\n".join(lines) + "\n"


def _differences(compared: tuple[Sequence[Result], Sequence[Result]]) -> list[str]:
    """In what the runs differ from the reference, by the first of each: theirs, ours."""
    found = differing(compared[0][0].run, compared[1][0].run)
    return [
        f"{name}: {one} in the reference, {other} in the runs"
        for name, (one, other) in found.items()
        if name not in OF_SEED
    ]


def _in_words(metrics: SeedDifferences, k: int) -> tuple[str, str, str]:
    """The result `k` of the reference and of the runs, mean ± sd, and the interval of the difference."""
    first = f"{metrics.first_mean[k]:.4f} ± {metrics.first_sd[k]:.4f}"
    second = f"{metrics.second_mean[k]:.4f} ± {metrics.second_sd[k]:.4f}"
    return first, second, f"{metrics.low[k]:+.4f} to {metrics.high[k]:+.4f}"


def _digits(values: NDArray[np.float64], k: int) -> str:
    return "" if np.isnan(values[k]) else f"{values[k]:.6g}"


def _metrics_csv(metrics: SeedDifferences, names: Sequence[str], pairs: Pairing) -> str:
    columns = [getattr(metrics, field) for field, _ in COLUMNS]
    n = [len(pairs.first), len(pairs.second), "yes" if pairs.is_paired else "no"]
    rows = [[name, *n, *(_digits(column, k) for column in columns)] for k, name in enumerate(names)]
    return csv_text(["metric", "n_reference", "n_run", "paired", *(name for _, name in COLUMNS)], rows)


def _classes_csv(classes: SeedDifferences, class_names: Sequence[str], verdicts: Sequence[str]) -> str:
    columns = [getattr(classes, field) for field, _ in TESTED]
    rows = [[k, name, *(_digits(column, k) for column in columns), verdicts[k]] for k, name in enumerate(class_names)]
    heads = [name if name in ("p", "adjusted_p", "low", "high") else _of_recall(name) for _, name in TESTED]
    return csv_text(["class", "name", *heads, "verdict"], rows)


def _of_recall(name: str) -> str:
    """The column of a recall, named as in the comparison of two runs."""
    if name == "difference":
        return "recall_difference"
    side, _, sd = name.partition("_")
    return f"{side}_recall_sd" if sd else f"{side}_recall"


def _page(
    folder: Path,
    metrics: SeedDifferences,
    names: Sequence[str],
    classes: SeedDifferences,
    class_names: Sequence[str],
    verdicts: Sequence[str],
    pairs: Pairing,
    sides: tuple[Sequence[Result], Sequence[Result]],
    short: Sequence[str],
    text: str,
    notes: Sequence[str],
) -> Page:
    cards = [
        Card(
            f"{metrics.difference[k]:+.4f}",
            words(name),
            f"95 %: {metrics.low[k]:+.3f} to {metrics.high[k]:+.3f}",
        )
        for k, name in enumerate(names)
    ]
    reference, runs = short
    results = [
        [
            Cell(words(name)),
            Cell(first, float(metrics.first_mean[k])),
            Cell(second, float(metrics.second_mean[k])),
            number(metrics.difference[k], 4, signed=True),
            Cell(between, float(metrics.low[k])),
        ]
        for k, name in enumerate(names)
        for first, second, between in [_in_words(metrics, k)]
    ]
    order = [int(k) for k in np.argsort(classes.difference, kind="stable")]  # a class without images last
    rows = [
        [
            Cell(class_names[k]),
            number(classes.first_mean[k]),
            number(classes.first_sd[k]),
            number(classes.second_mean[k]),
            number(classes.second_sd[k]),
            number(classes.difference[k], signed=True),
            Cell("-")
            if np.isnan(classes.low[k])
            else Cell(f"{classes.low[k]:+.3f} to {classes.high[k]:+.3f}", float(classes.low[k])),
            number(classes.p[k], 4),
            number(classes.adjusted_p[k], 4),
            Cell(verdicts[k]),
        ]
        for k in order
    ]
    n = _seeds_in_words(pairs)
    interval = "95 % interval"
    points = {
        name: [(result.metrics["accuracy"], result.metrics["worst_decile_recall"]) for result in side]
        for name, side in zip(short, sides, strict=True)
    }
    shown = [k for k in order if not np.isnan(classes.difference[k])]
    intervals = [
        (class_names[k], float(classes.difference[k]), float(classes.low[k]), float(classes.high[k])) for k in shown
    ]
    means = [(class_names[k], float(classes.first_mean[k]), float(classes.second_mean[k])) for k in shown]
    return Page(
        f"{runs} compared with {reference}",
        f"{n}; differences are of the runs less the reference",
        cards,
        [
            Table(
                "Over the seeds",
                ["metric", reference, runs, "difference", interval],
                results,
                " ".join(["Means ± the sample standard deviation over the seeds.", *notes]),
            ),
            front_chart(
                "Accuracy and worst decile",
                points,
                x="accuracy",
                y=words("worst_decile_recall"),
                note="Runs small, their means large, bars: sample standard deviation.",
            ),
            intervals_chart(
                "Difference of each class",
                intervals,
                [verdicts[k] for k in shown],
                x="difference of mean recall",
                note="Lines: 95 % interval over the seeds. Gained, lost: beyond the spread over the seeds, for the "
                "number of classes.",
            ),
            scatter_chart(
                "Mean recall of each class", means, x=f"recall of {reference}", y=f"recall of {runs}", diagonal=True
            ),
            Table(
                "Class by class",
                ["class", reference, "sd", runs, "sd", "difference", interval, "p", "adjusted p", "verdict"],
                rows,
            ),
            Text("In words", text),
            *origin(folder.parent),
        ],
    )
