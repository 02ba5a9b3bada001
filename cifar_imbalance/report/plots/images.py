"""Plots of the data: sample images and the number of images of each class."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cifar_imbalance.report.plots.canvas import (
    BLUE,
    COLUMN,
    GREEN,
    LARGEST_SIDE,
    ORANGE,
    PAGE,
    fitted,
    name_axis,
    name_style,
    new_figure,
    paper,
    save_figure,
    tick_names,
)

LETTERS_BELOW = 17  # of a line of the name below an image


@paper()
def image_grid_plot(
    path: Path,
    images: Sequence[NDArray[np.uint8] | None],
    columns: int,
    *,
    title: str,
    row_names: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    """Images [height, width, 3] in rows of `columns`, with a name before each row or below each, as of `tick_names`.

    None is an empty cell.
    """
    rows = math.ceil(len(images) / columns)
    scale = min(1.0, (PAGE - 1.0) / (0.7 * columns))
    figure = new_figure(0.7 * scale * columns + 1.0, (0.95 if names else 0.7) * scale * rows + 0.6)
    style = name_style(6.5 if row_names else 5)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if number >= len(images):
            continue
        image = images[number]
        if image is not None:
            axes.imshow(image, interpolation="nearest")
        if names:
            lines = "\n".join(textwrap.wrap(names[number], LETTERS_BELOW, max_lines=2))
            text = axes.text(0.5, -0.04, lines, transform=axes.transAxes, ha="center", va="top", **style)
            text.set_in_layout(False)  # a long name would tear the columns apart
        if row_names and number % columns == 0:
            label = row_names[number // columns]
            axes.text(-0.08, 0.5, label, transform=axes.transAxes, ha="right", va="center", **style)
    figure.suptitle(fitted(title, figure, 8), **name_style(8))
    save_figure(figure, path)


@paper()
def class_counts_plot(
    path: Path, counts: Mapping[str, NDArray[np.int64]], class_names: Sequence[str], *, title: str
) -> None:
    """The number of images of each class, arrays [K] by set name."""
    classes = len(class_names)
    few = classes <= 20
    figure = new_figure(COLUMN if few else min(max(PAGE, 0.065 * classes), LARGEST_SIDE), 2.4 if few else 3.2)
    axes = figure.add_subplot()
    width = 0.84 / len(counts)
    for number, ((name, values), colour) in enumerate(zip(counts.items(), (BLUE, ORANGE, GREEN), strict=False)):
        places = np.arange(classes) - 0.42 + (number + 0.5) * width
        axes.bar(places, values, width, color=colour, label=f"{name}: {int(values.sum())} images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    name_axis(axes, "x", tick_names(class_names), 7.0 if few else 5.5, 45.0 if few else 90)
    axes.set_ylim(0, 1.06 * max(int(values.max()) for values in counts.values()))
    axes.set_xlim(-0.6, classes - 0.4)
    axes.set_ylabel("images of the class")
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    figure.suptitle(fitted(f"Images of each class: {title}", figure, 8), **name_style(8))
    save_figure(figure, path)
