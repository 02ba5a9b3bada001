"""The recall of each class over the course of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cifar_imbalance.report.plots.canvas import LARGEST_SIDE, name_axis, new_figure, save_figure, tick_names


def recall_by_epoch_plot(
    path: Path, recalls: Sequence[NDArray[np.float64]], class_names: Sequence[str], *, images: str
) -> None:
    """Heat map of class by epoch from the recalls [K] after each epoch, ordered by final recall, worst first.

    `images` are those evaluated, test or validation. A class without images is grey and comes last.
    """
    table = np.stack(recalls, axis=1)  # [K, epochs]
    order = np.argsort(table[:, -1], kind="stable")  # NaN last
    classes, epochs = table.shape
    few = classes <= 20
    height = min(2.0 + (0.32 if few else 0.18) * classes, LARGEST_SIDE)
    figure = new_figure(min(max(7.0, 3.5 + 0.2 * epochs), LARGEST_SIDE), height)
    axes = figure.add_subplot()
    colours = colormaps["viridis"].with_extremes(bad="0.85")
    drawn = axes.imshow(
        np.ma.masked_invalid(table[order]),
        cmap=colours,
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
        extent=(0.5, epochs + 0.5, classes - 0.5, -0.5),
    )
    names = tick_names(class_names, np.isnan(table[:, -1]))
    name_axis(axes, "y", [names[index] for index in order], 10.0 if few else 8.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    figure.colorbar(drawn, ax=axes, label=f"recall on the {images} images", fraction=0.05, pad=0.02)
    axes.set_title("Recall of each class by epoch, worst final recall first", fontsize=12)
    save_figure(figure, path)
