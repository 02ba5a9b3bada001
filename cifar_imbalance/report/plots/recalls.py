"""The recall of each class, and what a controller sets for it, over the course of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cifar_imbalance.report.plots.canvas import (
    COLUMN,
    LARGEST_SIDE,
    PAGE,
    fitted,
    name_axis,
    new_figure,
    paper,
    save_figure,
    tick_names,
)


@paper()
def recall_by_epoch_plot(
    path: Path, recalls: Sequence[NDArray[np.float64]], class_names: Sequence[str], *, images: str
) -> None:
    """Heat map of class by epoch from the recalls [K] after each epoch, ordered by final recall, worst first.

    `images` are those evaluated, test or validation. A class without images is grey and comes last.
    """
    _heat_map(
        path,
        np.stack(recalls, axis=1),
        class_names,
        final_recalls=recalls[-1],
        limits=(0.0, 1.0),
        label=f"recall on the {images} images",
        title="Recall of each class by epoch, worst final recall first",
    )


@paper()
def value_by_epoch_plot(
    path: Path,
    values: Sequence[NDArray[Any]],
    class_names: Sequence[str],
    *,
    value: str,
    final_recalls: NDArray[np.float64],
) -> None:
    """Heat map of class by epoch from the `values` [K] in each epoch, "weight" or "level", ordered likewise."""
    table = np.stack(values, axis=1).astype(np.float64)
    _heat_map(
        path,
        table,
        class_names,
        final_recalls=final_recalls,
        limits=(float(table.min()), max(float(table.max()), float(table.min()) + 1e-3)),
        label=value,
        title=f"{value.capitalize()} of each class by epoch, worst final recall first",
    )


def _heat_map(
    path: Path,
    table: NDArray[np.float64],
    class_names: Sequence[str],
    *,
    final_recalls: NDArray[np.float64],
    limits: tuple[float, float],
    label: str,
    title: str,
) -> None:
    """`table` [K, epochs]; its values between the `limits` are coloured from dark to light, NaN is grey."""
    order = np.argsort(final_recalls, kind="stable")  # NaN last
    classes, epochs = table.shape
    few = classes <= 20
    height = min(0.9 + (0.15 if few else 0.083) * classes, LARGEST_SIDE)
    figure = new_figure(min(max(COLUMN, 2.2 + 0.06 * epochs), PAGE), height)
    axes = figure.add_subplot()
    colours = colormaps["viridis"].with_extremes(bad="0.85")
    drawn = axes.imshow(
        np.ma.masked_invalid(table[order]),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        aspect="auto",
        interpolation="nearest",
        extent=(0.5, epochs + 0.5, classes - 0.5, -0.5),
    )
    names = tick_names(class_names, np.isnan(final_recalls))
    name_axis(axes, "y", [names[index] for index in order], 7.0 if few else 5.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    figure.colorbar(drawn, ax=axes, label=label, fraction=0.05, pad=0.02)
    figure.suptitle(fitted(title, figure, 8))
    save_figure(figure, path)
