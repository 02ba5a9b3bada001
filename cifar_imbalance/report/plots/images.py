"""Plots of the data: sample images and the number of images of each class."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cifar_imbalance.evidence.mistakes import Confused
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
    pair_in_words,
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
def gallery_plot(
    path: Path, pairs: Sequence[Confused], image: Callable[[int], NDArray[np.uint8]], class_names: Sequence[str]
) -> None:
    """A row for each pair of classes: images that were confused, as `image` gives them by place [height, width, 3].

    Below each is the probability of the predicted class.
    """
    columns = max(len(pair.places) for pair in pairs)
    height, width, _ = image(int(pairs[0].places[0])).shape
    # in one picture, since a plot with axes for each image takes a second
    gap, below = max(1, width // 12), max(2, height // 3)
    down, across = height + below, width + gap
    grid = np.full((len(pairs) * down, columns * across, 3), 255, dtype=np.uint8)
    names = tick_names(class_names)
    labels = [pair_in_words(names[pair.true], names[pair.predicted], ",\n") for pair in pairs]
    room = 0.06 * max(len(line) for label in labels for line in label.split("\n")) + 0.4  # inches, of the names
    inches = min(0.7 / max(height, width), (PAGE - room) / (columns * across))  # of a pixel
    figure = new_figure(max(COLUMN, columns * across * inches + room), len(pairs) * down * inches + 0.4)
    axes = figure.add_subplot()
    for row, pair in enumerate(pairs):
        for column, (place, probability) in enumerate(zip(pair.places, pair.probabilities, strict=True)):
            grid[row * down : row * down + height, column * across : column * across + width] = image(int(place))
            middle = column * across + width / 2 - 0.5
            text = f"{probability:.3f}"
            axes.text(middle, row * down + height + 0.1 * below, text, ha="center", va="top", fontsize=5)
        axes.text(-2 * gap, row * down + height / 2, labels[row], ha="right", va="center", **name_style(6.5))
    axes.imshow(grid, interpolation="nearest")
    axes.set_axis_off()
    title = "Surest mistakes of the most confused pairs of classes, with the probability of the predicted class"
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
