"""The pictures of a report, drawn without a display and without pyplot's global state."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.metrics import ClassMetrics, recall_interval

DPI = 100
LONGEST_NAME = 28  # characters
NUMBERS_IN_CELLS_UP_TO = 20  # classes
LARGEST_SIDE = 60  # inches
# matplotlib's own font first; then common ones of other scripts, where the machine has them.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Arial Unicode MS",
)
_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#1f5fa8", "#d9730d", "#2a8a4a", "#c0282d", "#707070"

History = Sequence[Mapping[str, Any]]


def confusion_plot(path: Path, matrix: NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Heat map of counts [K, K] (rows are the true classes), each row divided by its sum; absent classes are grey."""
    classes = len(class_names)
    support = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, support, out=np.full(matrix.shape, np.nan), where=support > 0)
    few = classes <= NUMBERS_IN_CELLS_UP_TO
    side = 2.8 + 0.62 * classes if few else min(3.5 + 0.19 * classes, LARGEST_SIDE)
    figure = new_figure(max(side, 6.5) + 0.6, max(side, 6.5))
    axes = figure.add_subplot()
    # On a linear scale the confusions, a few per cent each, would vanish beside the diagonal.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    colours = colormaps["Blues"].with_extremes(bad="0.85")
    image = axes.imshow(np.ma.masked_invalid(shares), cmap=colours, norm=norm, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.75, aspect=35, pad=0.01, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "0.01", "0.05", "0.1", "0.25", "0.5", "1"])
    bar.set_label("share of the true class (colours on a square-root scale)", fontsize=10 if few else 14)
    absent = support[:, 0] == 0
    size = 10.0 if few else 8.0
    _name_axis(axes, "y", _tick_names(class_names, absent), size)
    _name_axis(axes, "x", _tick_names(class_names), size, rotation=45.0 if few else 90)
    axes.set_ylabel("true class", fontsize=11 if few else 16)
    axes.set_xlabel("predicted class", fontsize=11 if few else 16)
    axes.set_title(
        "Confusion matrix: each row is a true class, its diagonal cell is the recall", fontsize=12 if few else 20
    )
    _cell_borders(axes, classes, every=1, color="white" if few else "0.92", linewidth=1.0 if few else 0.4)
    if not few:
        # Every tenth border darker: the eye finds its way from a cell to both names.
        _cell_borders(axes, classes, every=10, color="0.6", linewidth=0.6)
    if few:
        for row, column in np.argwhere(matrix > 0):
            share = shares[row, column]
            colour = "white" if norm(share) > 0.6 else "black"
            axes.text(column, row, _share_text(share), ha="center", va="center", fontsize=9, color=colour)
    save_figure(figure, path)


def per_class_plot(path: Path, metrics: ClassMetrics, class_names: Sequence[str]) -> None:
    """Recall of every class, worst at the top, with Wilson's 95 % interval; precision as dots; absent classes last."""
    order = np.concatenate([metrics.worst_first, np.flatnonzero(metrics.absent)])
    classes, present = len(order), len(metrics.worst_first)
    figure = new_figure(9.5, min(2.2 + (0.32 if classes <= 20 else 0.2) * classes, 500))
    axes = figure.add_subplot()
    places = np.arange(present)
    recall = metrics.recall[order[:present]]
    low, high = recall_interval(metrics)[:, order[:present]]
    # Rounding may put an interval's end a hair inside the recall itself.
    errors = np.clip([recall - low, high - recall], 0, None)
    axes.barh(places, recall, height=0.72, color="#a9c6e8", label="recall")
    label = "95 % interval of recall"
    axes.errorbar(recall, places, xerr=errors, fmt="none", ecolor=_BLUE, elinewidth=1.2, capsize=2.0, label=label)
    axes.plot(metrics.precision[order[:present]], places, "o", color=_ORANGE, markersize=4.5, label="precision")
    mean = metrics.macro(metrics.recall)
    axes.axvline(mean, color=_RED, linewidth=1.2, linestyle="--", label=f"macro_recall {mean:.3f}")
    for place in range(present, classes):
        axes.text(0.005, place, "no images", va="center", fontsize=8, color=_GREY)
    names = _tick_names(class_names, metrics.absent, metrics.never_predicted)
    _name_axis(axes, "y", [names[index] for index in order], 10.0 if classes <= 20 else 8.5)
    axes.set_ylim(classes - 0.4, -0.6)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xticks(np.linspace(0, 1, 11))
    # A tall picture is read from both ends.
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.grid(axis="x", color="0.88")
    axes.set_axisbelow(True)
    axes.set_xlabel("recall, precision")
    title = {"title": "Recall by class, worst first", "title_fontsize": 13}
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9, **title)
    save_figure(figure, path)


def curves_plot(path: Path, history: History, chosen_epoch: int | None = None) -> None:
    """Losses on the left, accuracy, macro F1 and worst recall on the right, by epoch."""
    figure = new_figure(12, 4.8)
    left, right = figure.subplots(1, 2)
    _curve(left, history, "train_loss", _GREY)
    _curve(left, history, "validation_loss", _BLUE)
    _curve(right, history, "train_accuracy", _GREY)
    _curve(right, history, "validation_accuracy", _BLUE)
    _curve(right, history, "validation_macro_f1", _GREEN)
    _curve(right, history, "validation_worst_recall", _RED)
    validated = any(_points(history, key)[0] for key in ("validation_loss", "validation_accuracy"))
    left.set_ylabel("loss")
    right.set_ylabel("accuracy, macro_f1, worst_recall")
    right.set_ylim(-0.02, 1.02)
    for axes in (left, right):
        if chosen_epoch is not None:
            axes.axvline(chosen_epoch, color="black", linewidth=1, linestyle=":", label=f"chosen epoch {chosen_epoch}")
        _epoch_axis(axes, [int(line["epoch"]) for line in history])
        if not validated:
            axes.text(0.98, 0.03, "no validation", transform=axes.transAxes, ha="right", color=_GREY)
        if axes.get_legend_handles_labels()[0]:
            # Above the curves and never over them.
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)
    figure.suptitle("Training by epoch", fontsize=13)
    save_figure(figure, path)


def learning_rate_plot(path: Path, history: History, chosen_epoch: int | None = None) -> None:
    """The learning rate from the first to the last step of each epoch (`lr_start`, `lr_end`), epochs side by side."""
    figure = new_figure(8, 4.2)
    axes = figure.add_subplot()
    epochs: list[float] = []
    rates: list[float] = []
    for line in history:
        start, end = _value(line, "lr_start"), _value(line, "lr_end")
        if start is not None and end is not None:
            epochs += [line["epoch"] - 1, line["epoch"]]
            rates += [start, end]
    axes.plot(epochs, rates, color=_BLUE, linewidth=1.6)
    if chosen_epoch is not None:
        axes.axvline(chosen_epoch, color="black", linewidth=1, linestyle=":", label=f"chosen epoch {chosen_epoch}")
        axes.legend(frameon=False, fontsize=9)
    if not rates:
        axes.text(0.5, 0.5, "no learning rate recorded", transform=axes.transAxes, ha="center", color=_GREY)
    axes.set_ylim(0, max(rates, default=0.0) * 1.06 or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    first, last = min(epochs, default=0.0), max(epochs, default=1.0)
    margin = 0.02 * (last - first)
    axes.set_xlim(first - margin, last + margin)
    axes.set_xlabel("epochs completed")
    axes.set_ylabel("learning rate (lr)")
    axes.grid(color="0.9")
    axes.set_title("Learning rate by epoch", fontsize=13)
    save_figure(figure, path)


def _share_text(share: float) -> str:
    """Two digits, yet never "0.00" for a confusion that occurs nor "1.00" for a recall that is not perfect."""
    if share < 0.005:
        return "<0.01"
    return ">0.99" if 0.995 <= share < 1 else f"{share:.2f}"


def _cell_borders(axes: Axes, classes: int, *, every: int, color: str, linewidth: float) -> None:
    places = np.arange(0, classes, every)[1:] - 0.5
    axes.hlines(places, -0.5, classes - 0.5, colors=color, linewidths=linewidth)
    axes.vlines(places, -0.5, classes - 0.5, colors=color, linewidths=linewidth)


def _curve(axes: Axes, history: History, key: str, colour: str) -> None:
    epochs, values = _points(history, key)
    if epochs:
        marker = "o" if len(epochs) <= 30 else None
        axes.plot(epochs, values, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=key)


def _points(history: History, key: str) -> tuple[list[int], list[float]]:
    """Epochs and finite values of `key`, of the lines that have one."""
    pairs = [(int(line["epoch"]), _value(line, key)) for line in history]
    kept = [(epoch, value) for epoch, value in pairs if value is not None]
    return [epoch for epoch, _ in kept], [value for _, value in kept]


def _value(line: Mapping[str, Any], key: str) -> float | None:
    value = line.get(key)
    return float(value) if value is not None and math.isfinite(value) else None


def _epoch_axis(axes: Axes, epochs: Sequence[int]) -> None:
    axes.set_xlabel("epoch")
    axes.grid(color="0.9")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if epochs:
        margin = max(0.5, 0.02 * (epochs[-1] - epochs[0]))
        axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)


def _tick_names(
    class_names: Sequence[str],
    absent: NDArray[np.bool_] | None = None,
    never_predicted: NDArray[np.bool_] | None = None,
) -> list[str]:
    """Names as they stand beside an axis: one line, shortened, marked; `class 12` where no font can draw one."""
    drawable = frozenset[int]().union(*_coverage().values())
    names = []
    for index, name in enumerate(class_names):
        line = " ".join(name.split())
        if not line or not all(ord(character) in drawable for character in line):
            line = f"class {index}"
        if len(line) > LONGEST_NAME:
            line = line[: LONGEST_NAME - 1].rstrip() + "…"
        mark = " (absent)" if absent is not None and absent[index] else ""
        mark += " (never predicted)" if never_predicted is not None and never_predicted[index] else ""
        names.append(line + mark)
    return names


def _name_axis(axes: Axes, which: str, names: Sequence[str], size: float, rotation: float = 0.0) -> None:
    places = range(len(names))
    # A name is never mathematics: `$` and `_` are drawn as they are.
    style: dict[str, Any] = {"parse_math": False, "fontsize": size, "fontfamily": list(_coverage())}
    if which == "y":
        axes.set_yticks(places, names, **style)
    elif rotation == 90:
        axes.set_xticks(places, names, rotation=90, **style)
    else:
        axes.set_xticks(places, names, rotation=rotation, ha="right", rotation_mode="anchor", **style)


@cache
def _coverage() -> dict[str, frozenset[int]]:
    """The fonts of `_FONTS` that this machine has, and the code points that each can draw."""
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    fonts = {}
    for family in _FONTS:
        if family in installed:
            file = font_manager.findfont(font_manager.FontProperties(family=family))
            fonts[family] = frozenset(FT2Font(file).get_charmap())
    return fonts


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    atomic.write(path, lambda file: file.write(picture.getvalue()))
