"""The pictures of a report, drawn without a display and without pyplot's global state."""

from __future__ import annotations

import io
import math
import textwrap
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
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.diversity import ClassGains
from cifar_imbalance.metrics import ClassMetrics, recall_interval

DPI = 100
LONGEST_NAME = 28  # characters
NUMBERS_IN_CELLS_UP_TO = 20  # classes
LARGEST_SIDE = 60  # inches
EXTREMES_NAMED = 8  # classes at either end of a scatter
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
# The worst decile of ten classes is the worst class: its line is seen through the dashes.
_SIZE_CURVES = (("accuracy", _BLUE, "-"), ("worst_decile_recall", _ORANGE, "-"), ("worst_recall", _RED, "--"))

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


def image_grid_plot(
    path: Path,
    images: NDArray[np.uint8],
    columns: int,
    *,
    title: str,
    row_names: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    """Images [n, height, width, 3] in rows of `columns`, with a name before each row or below each image."""
    rows = math.ceil(len(images) / columns)
    figure = new_figure(0.95 * columns + 1.2, (1.15 if names else 0.95) * rows + 0.7)
    style: dict[str, Any] = {"parse_math": False, "fontsize": 9, "fontfamily": list(_coverage())}
    row_labels, labels = _tick_names(row_names), _tick_names(names)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if number >= len(images):
            continue
        axes.imshow(images[number], interpolation="nearest")
        if labels:
            axes.text(0.5, -0.14, labels[number], transform=axes.transAxes, ha="center", va="baseline", **style)
        if row_labels and number % columns == 0:
            label = row_labels[number // columns]
            axes.text(-0.08, 0.5, label, transform=axes.transAxes, ha="right", va="center", **style)
    figure.suptitle(title, fontsize=11, parse_math=False)
    save_figure(figure, path)


def class_counts_plot(
    path: Path, counts: Mapping[str, NDArray[np.int64]], class_names: Sequence[str], *, title: str
) -> None:
    """Images of each class, arrays [K] by the name of their set."""
    classes = len(class_names)
    figure = new_figure(min(max(7.0, 3 + 0.17 * classes), LARGEST_SIDE), 5)
    axes = figure.add_subplot()
    for (name, values), colour in zip(counts.items(), (_BLUE, _ORANGE, _GREEN), strict=False):
        axes.plot(range(classes), values, "o", color=colour, markersize=5, label=f"{name}: {int(values.sum())} images")
    _name_axis(axes, "x", _tick_names(class_names), 10.0 if classes <= 20 else 8.0, 45.0 if classes <= 20 else 90)
    axes.set_ylim(0, 1.06 * max(int(values.max()) for values in counts.values()))
    axes.set_xlim(-0.6, classes - 0.4)
    axes.set_ylabel("images of the class")
    axes.grid(color="0.9")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=10)
    figure.suptitle(f"Images of each class: {title}", fontsize=11, parse_math=False)
    save_figure(figure, path)


def member_curves_plot(path: Path, histories: Sequence[History]) -> None:
    """The curves of all members of an ensemble: losses on the left, accuracies on the right, a colour for each."""
    figure = new_figure(12, 5.2)
    left, right = figure.subplots(1, 2)
    colours = colormaps["tab10" if len(histories) <= 10 else "turbo"]
    for number, history in enumerate(histories):
        colour = colours(number if len(histories) <= 10 else number / len(histories))
        for axes, figure_name in ((left, "loss"), (right, "accuracy")):
            _curve(axes, history, f"train_{figure_name}", colour, linestyle=":", label="")
            _curve(axes, history, f"validation_{figure_name}", colour, label=f"member {number}")
    left.set_ylabel("loss")
    right.set_ylabel("accuracy")
    right.set_ylim(-0.02, 1.02)
    for axes in (left, right):
        _epoch_axis(axes, [int(line["epoch"]) for line in histories[0]])
    handles, labels = right.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(handles), 10), frameon=False, fontsize=9
        )
    figure.suptitle("Training of the members by epoch: validation solid, training dotted", fontsize=13)
    save_figure(figure, path)


def ensemble_plot(
    path: Path, sizes: Sequence[Mapping[str, float]], gains: ClassGains, class_names: Sequence[str]
) -> None:
    """Figures against the number of members, a dot for each subset; each class's gain; each class's diversity."""
    figure = new_figure(19, 6)
    left, middle, right = figure.subplots(1, 3)
    counts = sorted({int(row["members"]) for row in sizes})
    for name, colour, style in _SIZE_CURVES:
        left.plot([row["members"] for row in sizes], [row[name] for row in sizes], ".", color=colour, alpha=0.45)
        means = [float(np.mean([row[name] for row in sizes if row["members"] == count])) for count in counts]
        label = f"{name}: {means[0]:.3f} to {means[-1]:.3f}"
        left.plot(counts, means, style, color=colour, linewidth=1.8, label=label)
    left.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    left.set_xlabel("members")
    left.set_ylabel("mean of the subsets (dots: each subset)")
    left.set_title("Figures by the number of members", fontsize=12, pad=38)
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)

    middle.axhline(0, color="black", linewidth=1)
    middle.plot(gains.mean_member_recall, gains.gain, "o", color=_BLUE, markersize=4, alpha=0.7)
    middle.set_ylabel("recall of the ensemble less the mean of the members'")
    middle.set_title("Gain of each class", fontsize=12)

    points = right.scatter(
        gains.mean_member_recall, gains.disagreement, c=gains.mutual_information, cmap="viridis", s=18
    )
    figure.colorbar(points, ax=right, label="mutual_information (nats)", shrink=0.85)
    right.set_ylabel("disagreement: share of pairs of members")
    right.set_title("Diversity of each class", fontsize=12)
    for axes in (left, middle, right):
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    for axes in (middle, right):
        axes.set_xlim(-0.02, 1.14)
        axes.set_xlabel("mean recall of the members")
    _name_extremes(middle, gains.mean_member_recall, gains.gain, gains.gain, class_names)
    _name_extremes(right, gains.mean_member_recall, gains.disagreement, gains.disagreement, class_names)
    save_figure(figure, path)


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
    figure = new_figure(9, 9)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="black", linewidth=1)
    for verdict, colour, label in (("", _GREY, "within noise"), ("gained", _GREEN, "gained"), ("lost", _RED, "lost")):
        chosen = (np.array(verdicts) == verdict) & ~np.isnan(reference)
        label = f"{label}: {int(chosen.sum())} classes"
        axes.plot(reference[chosen], recall[chosen], "o", color=colour, markersize=5, alpha=0.8, label=label)
    difference = np.where(np.array(verdicts) != "", recall - reference, np.nan)
    _name_extremes(axes, reference, recall, difference, class_names, most=len(class_names))
    axes.set_xlim(-0.02, 1.08)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel("recall of the reference")
    axes.set_ylabel("recall of the run")
    axes.grid(color="0.9")
    axes.legend(frameon=False, fontsize=10, loc="upper left")
    axes.set_title("\n".join(textwrap.wrap(f"Recall of each class: {title}", 80)), fontsize=11, parse_math=False)
    save_figure(figure, path)


def _name_extremes(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    by: NDArray[np.float64],
    class_names: Sequence[str],
    most: int = EXTREMES_NAMED,
) -> None:
    """Names beside the points [K] of the classes with the lowest and highest values of `by`, `most` of each."""
    present = np.flatnonzero(~np.isnan(by))
    order = present[np.argsort(by[present], kind="stable")]
    if len(order) > 2 * most:
        order = np.concatenate([order[:most], order[-most:]])
    names = _tick_names(class_names)
    style: dict[str, Any] = {"fontsize": 8, "parse_math": False, "fontfamily": list(_coverage())}
    axes.figure.canvas.draw()  # so that places in pixels are known
    taken: list[Bbox] = []
    for index in sorted(order, key=lambda k: -abs(by[k])):
        # Right above, right below, left above, left below; a name that would cover another is left out.
        for dx, dy, ha, va in (
            (4, 3, "left", "bottom"),
            (4, -3, "left", "top"),
            (-4, 3, "right", "bottom"),
            (-4, -3, "right", "top"),
        ):
            place: dict[str, Any] = {"xytext": (dx, dy), "textcoords": "offset points", "ha": ha, "va": va}
            label = axes.annotate(names[index], (x[index], y[index]), **place, **style)
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()


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
    _shade_phases(axes, history)
    axes.plot(epochs, rates, color=_BLUE, linewidth=1.6)
    if chosen_epoch is not None:
        axes.axvline(chosen_epoch, color="black", linewidth=1, linestyle=":", label=f"chosen epoch {chosen_epoch}")
        axes.legend(framealpha=0.9, edgecolor="none", fontsize=9)
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
    axes.set_title("Learning rate by epoch", fontsize=13, pad=20)
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


def _shade_phases(axes: Axes, history: History) -> None:
    """A band with its name for each phase of the schedule, where there are several."""
    phases = [str(line.get("phase")) for line in history]
    starts = [k for k, name in enumerate(phases) if k == 0 or phases[k - 1] != name]
    if len(starts) < 2:
        return
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(history)
        first, last = history[start]["epoch"] - 1, history[end - 1]["epoch"]
        axes.axvspan(first, last, color="0.93" if number % 2 else "0.86", linewidth=0)
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 9, "color": _GREY}
        axes.text((first + last) / 2, 1.01, phases[start], transform=axes.get_xaxis_transform(), **style)


def _curve(axes: Axes, history: History, key: str, colour: Any, label: str | None = None, linestyle: str = "-") -> None:
    epochs, values = _points(history, key)
    if epochs:
        marker = "o" if len(epochs) <= 30 else None
        style: dict[str, Any] = {"marker": marker, "markersize": 3.5, "linewidth": 1.6, "linestyle": linestyle}
        axes.plot(epochs, values, color=colour, label=key if label is None else label, **style)


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
