"""Plots that compare models: the members of an ensemble, a run and its reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cifar_imbalance.evidence.diversity import ClassGains
from cifar_imbalance.report.plots.canvas import (
    BLUE,
    COLUMN,
    GREY,
    ORANGE,
    PAGE,
    RED,
    fitted,
    name_axis,
    name_extremes,
    new_figure,
    paper,
    save_figure,
    shown_differences,
    tick_names,
    words,
)
from cifar_imbalance.terminal import count_of_classes

CELLS_UP_TO = 1000  # rows: more would be less than a few pixels each
# With ten classes the worst decile is the worst class: dashes keep both lines visible.
_SIZE_CURVES = (("accuracy", BLUE, "-"), ("worst_decile_recall", ORANGE, "-"), ("worst_recall", RED, "--"))


@paper()
def ensemble_plot(
    path: Path, sizes: Sequence[Mapping[str, float]], gains: ClassGains, class_names: Sequence[str]
) -> None:
    """Metrics by number of members, a dot for each subset; each class's gain; each class's diversity."""
    figure = new_figure(PAGE, 2.9)
    left, middle, right = figure.subplots(1, 3)
    counts = sorted({int(row["members"]) for row in sizes})
    for name, colour, style in _SIZE_CURVES:
        left.plot([row["members"] for row in sizes], [row[name] for row in sizes], ".", color=colour, alpha=0.45)
        means = [float(np.mean([row[name] for row in sizes if row["members"] == count])) for count in counts]
        label = f"{words(name)}: {means[0]:.3f} to {means[-1]:.3f}"
        left.plot(counts, means, style, color=colour, label=label)
    left.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    left.set_xlabel("members")
    left.set_ylabel("mean of subsets (dots: each)")
    left.set_title("Metrics by number of members")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1, frameon=False)

    middle.axhline(0, color="black", linewidth=1)
    middle.plot(gains.mean_member_recall, gains.gain, "o", color=BLUE, markersize=2, alpha=0.7)
    middle.set_ylabel("recall less the members' mean")
    middle.set_title("Gain of each class")

    points = right.scatter(
        gains.mean_member_recall, gains.disagreement, c=gains.mutual_information, cmap="viridis", s=5
    )
    figure.colorbar(points, ax=right, label="mutual information (nats)", shrink=0.85)
    right.set_ylabel("disagreement of pairs of members")
    right.set_title("Diversity of each class")
    for axes in (left, middle, right):
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    for axes in (middle, right):
        axes.set_xlim(-0.02, 1.14)
        axes.set_xlabel("mean recall of the members")
    name_extremes(middle, gains.mean_member_recall, gains.gain, gains.gain, class_names)
    name_extremes(right, gains.mean_member_recall, gains.disagreement, gains.disagreement, class_names)
    save_figure(figure, path)


@paper()
def side_by_side_plot(
    path: Path,
    reference: NDArray[np.float64],
    recall: NDArray[np.float64],
    verdicts: Sequence[str],
    class_names: Sequence[str],
    *,
    title: str,
) -> None:
    """Recall of the run against recall of the reference, arrays [K]; classes beyond noise are coloured."""
    figure = new_figure(4.8, 4.8)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="black", linewidth=1)
    kinds = (("", GREY, "o", "within noise"), ("gained", BLUE, "^", "gained"), ("lost", RED, "v", "lost"))
    for verdict, colour, marker, label in kinds:
        chosen = (np.array(verdicts) == verdict) & ~np.isnan(reference)
        label = f"{label}: {count_of_classes(int(chosen.sum()))}"
        axes.plot(reference[chosen], recall[chosen], marker, color=colour, markersize=3, alpha=0.8, label=label)
    difference = np.where(np.array(verdicts) != "", recall - reference, np.nan)
    name_extremes(axes, reference, recall, difference, class_names, most=len(class_names))
    axes.set_xlim(-0.02, 1.08)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel("recall of the reference")
    axes.set_ylabel("recall of the run")
    axes.grid(color="0.9")
    axes.legend(frameon=False, loc="upper left")
    axes.set_title(fitted(f"Recall of each class: {title}", figure, 8), parse_math=False)
    save_figure(figure, path)


@paper()
def class_differences_plot(
    path: Path,
    difference: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    verdicts: Sequence[str],
    class_names: Sequence[str],
    *,
    title: str,
) -> None:
    """Difference of each class's recall with its 95 % interval, arrays [K], the largest loss at the top.

    Classes without images are left out; of more than 1,000 those of the largest differences are drawn. An interval
    that is far longer than the differences ends in an arrow at the edge.
    """
    known = np.flatnonzero(~np.isnan(difference))
    if len(known) > CELLS_UP_TO:
        known = known[np.argsort(-np.abs(difference[known]), kind="stable")[:CELLS_UP_TO]]
    order = known[np.argsort(difference[known], kind="stable")]
    few = len(order) <= 20
    figure = new_figure(COLUMN if few else PAGE, 1.6 + (0.15 if few else 0.08) * len(order))
    axes = figure.add_subplot()
    axes.axvline(0, color="black", linewidth=1)
    left, right = shown_differences(difference[order], low[order], high[order])
    kinds = (("", GREY, "o", "within noise"), ("gained", BLUE, "^", "gained"), ("lost", RED, "v", "lost"))
    for verdict, colour, marker, label in kinds:
        rows = np.flatnonzero(np.array(verdicts)[order] == verdict)
        chosen = order[rows]
        ends = [
            difference[chosen] - np.maximum(low[chosen], left),
            np.minimum(high[chosen], right) - difference[chosen],
        ]
        for edge, arrow, beyond in ((left, "<", low[chosen] < left), (right, ">", high[chosen] > right)):
            if beyond.any():
                at = np.full(int(beyond.sum()), edge)
                axes.plot(at, rows[beyond], arrow, color=colour, markersize=3, clip_on=False, zorder=3)
        label = f"{label}: {count_of_classes(len(chosen))}"
        size = 3.0 if few else 2.2
        axes.errorbar(
            difference[chosen], rows, xerr=ends, fmt=marker, color=colour, elinewidth=0.8, markersize=size, label=label
        )
    name_axis(axes, "y", tick_names([class_names[k] for k in order]), 7.0 if few else 5.5)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(left, right)
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.grid(axis="x", color="0.88")
    axes.set_axisbelow(True)
    cut = bool((low[order] < left).any() or (high[order] > right).any())
    label = "difference of mean recall, 95 % interval over the seeds"
    axes.set_xlabel(fitted(f"{label} (an arrow: cut off)" if cut else label, figure, 9))
    figure.legend(loc="outside lower center", ncols=2 if few else 3, frameon=False)
    figure.suptitle(fitted(f"Recall of each class: {title}", figure, 8), parse_math=False)
    save_figure(figure, path)
