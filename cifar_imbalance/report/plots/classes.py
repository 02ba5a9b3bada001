"""Plots of the results of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from numpy.typing import NDArray

from cifar_imbalance.evidence.metrics import ClassMetrics, recall_interval
from cifar_imbalance.report.plots.canvas import (
    BLUE,
    COLUMN,
    GREY,
    LARGEST_SIDE,
    ORANGE,
    PAGE,
    RED,
    fitted,
    name_axis,
    new_figure,
    paper,
    save_figure,
    tick_names,
)

NUMBERS_IN_CELLS_UP_TO = 20  # classes
CELLS_UP_TO = 1000  # rows of a confusion matrix, and bars: more would be less than a few pixels each


@paper()
def confusion_plot(path: Path, matrix: NDArray[np.int64], class_names: Sequence[str], *, group: int = 1) -> None:
    """Heat map of counts [K, K] (rows are the true classes), each row divided by its sum; absent classes are grey.

    With `group`, a row is that of so many classes, and has the name of the first; `class_names` are those of all.
    """
    classes = len(matrix)
    support = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, support, out=np.full(matrix.shape, np.nan), where=support > 0)
    few = classes <= NUMBERS_IN_CELLS_UP_TO
    # Beyond 150 classes a page is too small for their names; such a plot is for the screen.
    side = min(max(COLUMN, 1.3 + 0.29 * classes), PAGE) if few else min(max(PAGE, 0.047 * classes), LARGEST_SIDE)
    figure = new_figure(side, side + 0.5)
    title = "Confusion matrix; on its diagonal the recalls"
    large = 7.0 if side <= PAGE else side  # font size of labels
    axes = figure.add_subplot()
    # On a linear scale the confusions, a few per cent each, would be invisible next to the diagonal.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    colours = colormaps["Blues"].with_extremes(bad="0.85")
    image = axes.imshow(np.ma.masked_invalid(shares), cmap=colours, norm=norm, interpolation="nearest")
    bar = figure.colorbar(
        image, ax=axes, location="bottom", shrink=0.75, aspect=35, pad=0.01, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    )
    bar.ax.set_xticklabels(["0", "0.01", "0.05", "0.1", "0.25", "0.5", "1"])
    bar.set_label("share of the true class (colours on a square-root scale)", fontsize=large)
    absent = support[:, 0] == 0
    size = 7.0 if few else 5.5
    absent_classes = np.repeat(absent, group)[: len(class_names)]
    name_axis(axes, "y", tick_names(class_names, absent_classes)[::group], size)
    name_axis(axes, "x", tick_names(class_names)[::group], size, rotation=45.0 if few else 90)
    axes.set_ylabel("true class", fontsize=large)
    axes.set_xlabel("predicted class", fontsize=large)
    if group > 1:
        title = f"Confusion matrix: each row is {group} true classes, named by the first"
    figure.suptitle(fitted(title, figure, 8 / 7 * large), fontsize=8 / 7 * large)
    _cell_borders(axes, classes, every=1, color="white" if few else "0.92", linewidth=0.6 if few else 0.2)
    if not few:
        # Every tenth border is darker, to guide the eye from a cell to both names.
        _cell_borders(axes, classes, every=10, color="0.6", linewidth=0.35)
    if few:
        for row, column in np.argwhere(matrix > 0):
            share = shares[row, column]
            colour = "white" if norm(share) > 0.6 else "black"
            axes.text(column, row, _share_text(share), ha="center", va="center", fontsize=5.5, color=colour)
    save_figure(figure, path)


@paper()
def per_class_plot(path: Path, metrics: ClassMetrics, class_names: Sequence[str]) -> None:
    """Recall of every class, worst at the top, with Wilson's 95 % interval; precision as dots; absent classes last.

    Of more than 1,000 classes the worst are drawn. The training images of each class are on the right, if known.
    """
    order = np.concatenate([metrics.worst_first, np.flatnonzero(metrics.absent)])
    title = "Recall by class, worst first"
    if len(order) > CELLS_UP_TO:
        title = f"Recall by class, the {CELLS_UP_TO} worst of {len(order)}"
        order = order[:CELLS_UP_TO]
    classes, present = len(order), min(len(order), len(metrics.worst_first))
    few = classes <= 20
    figure = new_figure(COLUMN if few else PAGE, 1.2 + (0.15 if few else 0.08) * classes)
    axes = figure.add_subplot()
    places = np.arange(present)
    recall = metrics.recall[order[:present]]
    low, high = recall_interval(metrics)[:, order[:present]]
    # Rounding may put an interval's end slightly on the wrong side of the recall.
    errors = np.clip([recall - low, high - recall], 0, None)
    axes.barh(places, recall, height=0.72, color="#a9c6e8", label="recall")
    label = "95 % interval of recall"
    axes.errorbar(recall, places, xerr=errors, fmt="none", ecolor=BLUE, elinewidth=0.8, capsize=1.2, label=label)
    axes.plot(
        metrics.precision[order[:present]], places, "o", color=ORANGE, markersize=3 if few else 2, label="precision"
    )
    mean = metrics.macro(metrics.recall)
    axes.axvline(mean, color=RED, linewidth=0.8, linestyle="--", label=f"macro recall {mean:.3f}")
    for place in range(present, classes):
        axes.text(0.005, place, "no images", va="center", fontsize=6 if few else 5, color=GREY)
    names = tick_names(class_names, metrics.absent, metrics.never_predicted)
    name_axis(axes, "y", [names[index] for index in order], 7.0 if few else 5.5)
    axes.set_ylim(classes - 0.4, -0.6)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xticks(np.linspace(0, 1, 6 if few else 11))
    # A tall plot has ticks at both ends.
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.grid(axis="x", color="0.88")
    axes.set_axisbelow(True)
    axes.set_xlabel("recall, precision")
    if metrics.train_images is not None:
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(classes), [str(metrics.train_images[index]) for index in order])
        right.tick_params(length=0, labelsize=6.5 if few else 5)
        right.set_ylabel("training images")
    figure.legend(loc="outside upper center", ncols=2 if few else 4, frameon=False, title=title, title_fontsize=8)
    save_figure(figure, path)


def _share_text(share: float) -> str:
    """Two digits, but never "0.00" for a confusion that occurs or "1.00" for an imperfect recall."""
    if share < 0.005:
        return "<0.01"
    return ">0.99" if 0.995 <= share < 1 else f"{share:.2f}"


def _cell_borders(axes: Axes, classes: int, *, every: int, color: str, linewidth: float) -> None:
    places = np.arange(0, classes, every)[1:] - 0.5
    axes.hlines(places, -0.5, classes - 0.5, colors=color, linewidths=linewidth)
    axes.vlines(places, -0.5, classes - 0.5, colors=color, linewidths=linewidth)
