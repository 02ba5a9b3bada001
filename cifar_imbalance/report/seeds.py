"""Runs of many seeds side by side with a reference of many seeds: what differs beyond the spread over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from cifar_imbalance.report.page.of_seeds import ALIKE, seeds_page
from cifar_imbalance.report.page.origin import origin_of_table
from cifar_imbalance.report.page.write import write_page
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
TESTED = (*COLUMNS, ("p", "p"), ("adjusted_p", "adjusted_p"))


@dataclass(frozen=True, eq=False)
class SeedComparison:
    """The runs of a reference, `theirs`, and those that are compared with it, `ours`."""

    theirs: Sequence[Result]
    ours: Sequence[Result]
    pairs: Pairing
    names: Sequence[str]  # of the metrics
    metrics: SeedDifferences
    classes: SeedDifferences
    hard_names: Sequence[str]  # the classes of HARD; none without validation images
    fields: Sequence[str]  # in what the configurations differ

    @property
    def compared(self) -> tuple[list[Result], list[Result]]:
        """Theirs and ours that are compared, which are those of the same seeds where they are paired."""
        return [self.theirs[k] for k in self.pairs.first], [self.ours[k] for k in self.pairs.second]

    @property
    def class_names(self) -> Sequence[str]:
        return self.theirs[0].predictions.class_names

    @property
    def verdicts(self) -> list[str]:
        """Whether each class gained, lost or neither, which is ""."""
        beyond, difference = self.classes.beyond_noise, self.classes.difference
        return np.select([beyond & (difference > 0), beyond & (difference < 0)], ["gained", "lost"], "").tolist()

    @property
    def seeds_in_words(self) -> str:
        if self.pairs.is_paired:
            return f"{len(self.pairs.seeds)} pairs of one seed"
        return f"{len(self.pairs.second)} runs and {len(self.pairs.first)} of the reference, not paired"

    def metric_in_words(self, k: int) -> tuple[str, str, str]:
        """The metric `k` of the reference and of the runs, mean ± sd, and the interval of the difference."""
        found = self.metrics
        first = f"{found.first_mean[k]:.4f} ± {found.first_sd[k]:.4f}"
        second = f"{found.second_mean[k]:.4f} ± {found.second_sd[k]:.4f}"
        return first, second, f"{found.low[k]:+.4f} to {found.high[k]:+.4f}"


def write_seeds_side_by_side(
    folder: Path, theirs: Sequence[Result], ours: Sequence[Result], *, reference: str, runs: str
) -> str:
    """Write side_by_side.txt, .csv, .png, side_by_side_metrics.csv and report.html into `folder`, made if needed.

    `theirs` are the runs of the folder `reference`, `ours` those of the folder `runs`, all on the same images, two or
    more of each. Returns the text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = _compared(theirs, ours)
    atomic.write_text(folder / "side_by_side_metrics.csv", _metrics_csv(found))
    atomic.write_text(folder / "side_by_side.csv", _classes_csv(found))
    text = _text(found, reference, runs)
    atomic.write_text(folder / "side_by_side.txt", text)
    names = shortest_names([Path(reference), Path(runs)])
    class_differences_plot(
        folder / "side_by_side.png",
        *(found.classes.difference, found.classes.low, found.classes.high),
        found.verdicts,
        found.class_names,
        title=f"{names[1]} less {names[0]}, {found.seeds_in_words}",
    )
    sides = {name: [result.run for result in side] for name, side in zip(names, (theirs, ours), strict=True)}
    origin = origin_of_table(sides, folder.parent)
    page = seeds_page(found, reference=names[0], runs=names[1], text=text, origin=origin)
    write_page(folder / "report.html", page)
    return text


def _compared(theirs: Sequence[Result], ours: Sequence[Result]) -> SeedComparison:
    hard = hard_decile(theirs)
    if hard is not None:
        theirs, ours = ([result.with_hard(hard) for result in side] for side in (theirs, ours))
    pairs = pairing([result.seed for result in theirs], [result.seed for result in ours])
    compared = [theirs[k] for k in pairs.first], [ours[k] for k in pairs.second]
    names = [name for name in (*METRICS[:4], HARD) if name in theirs[0].metrics]
    predictions = theirs[0].predictions
    return SeedComparison(
        theirs=theirs,
        ours=ours,
        pairs=pairs,
        names=names,
        metrics=seed_differences(
            *(np.array([[result.metrics[name] for name in names] for result in side]) for side in compared),
            paired=pairs.is_paired,
        ),
        classes=seed_differences(
            *(np.stack([result.recalls for result in side]) for side in compared),
            paired=pairs.is_paired,
            steps=1 / np.maximum(class_metrics(predictions).support, 1),
        ),
        hard_names=[] if hard is None else [predictions.class_names[k] for k in hard],
        fields=_fields(compared[0][0], compared[1][0]),
    )


def _fields(theirs: Result, ours: Result) -> list[str]:
    """In what the runs differ from the reference, by the first of each."""
    return [
        f"{name}: {one} in the reference, {other} in the runs"
        for name, (one, other) in differing(theirs.run, ours.run).items()
        if name not in OF_SEED
    ]


# ---------------------------------------------------------------- in words
def _text(found: SeedComparison, reference: str, runs: str) -> str:
    classes, verdicts = found.classes, found.verdicts
    lines = [f"{runs} side by side with {reference}, {found.seeds_in_words}", ""]
    lines += ["They differ in:", *(f"- {line}" for line in found.fields)] if found.fields else [ALIKE]
    lines += ["", f"{'':20}  {'reference':>15}  {'runs':>15}  difference  95 % interval"]
    for k, name in enumerate(found.names):
        first, second, interval = found.metric_in_words(k)
        lines.append(f"{name:20}  {first:>15}  {second:>15}  {found.metrics.difference[k]:>+10.4f}  {interval}")
    if found.hard_names:
        lines += ["", hard_in_words("the reference", found.hard_names)]
    for word in ("gained", "lost"):
        which = [k for k in np.argsort(-np.abs(classes.difference)) if verdicts[k] == word]
        listed = ", ".join(f"{found.class_names[k]} {classes.difference[k]:+.3f}" for k in which)
        lines += ["", f"{word}: {count_of_classes(len(which))}" + (f": {listed}" if listed else "")]
    outside = (classes.low > 0) | (classes.high < 0)
    known = int((~np.isnan(classes.difference)).sum())
    lines += [
        "",
        f"The 95 % interval of {count_of_classes(int(outside.sum()))} excludes 0; without any difference that of about "
        f"{0.05 * known:.2g} would.",
        *_how(found, known),
    ]
    return "\n".join(lines) + "\n"


def _how(found: SeedComparison, classes: int) -> list[str]:
    """The tests in words."""
    pairs, compared = found.pairs, found.compared
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


# ---------------------------------------------------------------- files
def _metrics_csv(found: SeedComparison) -> str:
    pairs = found.pairs
    columns = [getattr(found.metrics, field) for field, _ in COLUMNS]
    n = [len(pairs.first), len(pairs.second), "yes" if pairs.is_paired else "no"]
    rows = [[name, *n, *(_digits(column, k) for column in columns)] for k, name in enumerate(found.names)]
    return csv_text(["metric", "n_reference", "n_run", "paired", *(name for _, name in COLUMNS)], rows)


def _classes_csv(found: SeedComparison) -> str:
    columns, verdicts = [getattr(found.classes, field) for field, _ in TESTED], found.verdicts
    rows = [
        [k, name, *(_digits(column, k) for column in columns), verdicts[k]] for k, name in enumerate(found.class_names)
    ]
    heads = [name if name in ("p", "adjusted_p", "low", "high") else _of_recall(name) for _, name in TESTED]
    return csv_text(["class", "name", *heads, "verdict"], rows)


def _digits(values: NDArray[np.float64], k: int) -> str:
    return "" if np.isnan(values[k]) else f"{values[k]:.6g}"


def _of_recall(name: str) -> str:
    """The column of a recall, named as in the comparison of two runs."""
    if name == "difference":
        return "recall_difference"
    side, _, sd = name.partition("_")
    return f"{side}_recall_sd" if sd else f"{side}_recall"
