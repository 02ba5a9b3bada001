"""Plots of a sweep's groups: accuracy against the worst classes, recall by training images, changed confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifar_imbalance.report.plots.canvas import (
    COLOURS,
    COLUMN,
    PAGE,
    fitted,
    name_axis,
    name_style,
    new_figure,
    paper,
    save_figure,
    tick_names,
)

MARKERS = "osD^vP*X"
LARGEST_SIDE = 24  # inches


@paper()
def fronts_plot(path: Path, points: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Accuracy against the mean recall of the worst decile: a small point for each run, a large one for each mean.

    The bars are the sample standard deviations over the runs.
    """
    figure = new_figure(PAGE, 4.0)
    axes = figure.add_subplot()
    for number, (name, of_group) in enumerate(points.items()):
        colour, marker = _style(number)
        x, y = np.array(of_group).T
        axes.plot(x, y, marker, color=colour, markersize=2.5, alpha=0.5)
        axes.plot(x.mean(), y.mean(), marker, color=colour, markersize=6, label=tick_names([name])[0])
        if len(of_group) > 1:
            spread = {"xerr": x.std(ddof=1), "yerr": y.std(ddof=1)}
            axes.errorbar(x.mean(), y.mean(), **spread, color=colour, linewidth=0.8, alpha=0.7)
    for limits, limit in ((axes.get_xlim, axes.set_xlim), (axes.get_ylim, axes.set_ylim)):
        low, high = limits()
        limit(max(low, -0.02), min(high, 1.02))  # they are shares, a bar of whose sd may leave 0 to 1
    axes.set_xlabel("accuracy")
    axes.set_ylabel("recall of the worst decile of classes")
    _finish(path, figure, axes, "Accuracy and the worst classes: runs small, their means large, bars: sd")


@paper()
def recall_by_count_plot(path: Path, recalls: Mapping[str, NDArray[np.float64]], counts: NDArray[np.int64]) -> None:
    """The recall of each class [K] by its number of training images, as means over a tenth of the classes."""
    figure = new_figure(PAGE, 4.0)
    axes = figure.add_subplot()
    order = np.argsort(-counts, kind="stable")
    order = order[~np.isnan(next(iter(recalls.values()))[order])]  # all groups have the same images
    parts = np.array_split(order, min(10, len(order)))
    places = range(len(parts))
    for number, (name, recall) in enumerate(recalls.items()):
        colour, marker = _style(number)
        means = [np.nanmean(recall[part]) for part in parts]
        axes.plot(places, means, marker=marker, color=colour, markersize=3, label=tick_names([name])[0])
    spans = [
        f"{counts[part].max()}" if len(set(counts[part])) == 1 else f"{counts[part].max()} to {counts[part].min()}"
        for part in parts
    ]
    axes.set_xticks(places, spans, rotation=30, ha="right")
    axes.set_xlabel("training images of a class, a tenth of the classes in each place")
    axes.set_ylabel("mean recall")
    axes.set_ylim(bottom=0)
    _finish(path, figure, axes, "Recall by the number of training images")


def _style(number: int) -> tuple[str, str]:
    """The colour and the marker of a group."""
    return COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]


def _finish(path: Path, figure: Figure, axes: Axes, title: str) -> None:
    """Grid, title and the legend of the groups beside the axes."""
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    figure.suptitle(title)
    legend = axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    for text in legend.get_texts():
        text.set(**name_style(6.5))
    save_figure(figure, path)


@paper()
def delta_confusion_plot(
    path: Path, difference: NDArray[np.float64], class_names: Sequence[str], *, title: str
) -> None:
    """The difference of two confusion matrices in shares of the true class [K, K]: blue more often, red less often.

    On the diagonal more is better, elsewhere less.
    """
    side = COLUMN if len(difference) <= 20 else min(max(PAGE, 0.047 * len(difference)), LARGEST_SIDE)
    figure = new_figure(side, side + 0.5)
    axes = figure.add_subplot()
    limit = max(0.05, math.ceil(np.nanmax(np.abs(difference)) * 20) / 20)
    colours = colormaps["RdBu"].with_extremes(bad="0.85")
    image = axes.imshow(
        np.ma.masked_invalid(difference), cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest"
    )
    large = 7.0 if side <= PAGE else side
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.75, aspect=35, pad=0.01)
    bar.set_label("change in the share of the true class", fontsize=large)
    name_axis(axes, "y", tick_names(class_names), 5.5)
    name_axis(axes, "x", tick_names(class_names), 5.5, rotation=90)
    axes.set_ylabel("true class", fontsize=large)
    axes.set_xlabel("predicted class", fontsize=large)
    figure.suptitle(fitted(f"Change of the confusion matrix: {title}", figure, 8 / 7 * large), fontsize=8 / 7 * large)
    save_figure(figure, path)
