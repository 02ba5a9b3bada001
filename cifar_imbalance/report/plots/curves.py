"""Training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cifar_imbalance.report.plots.canvas import (
    BLUE,
    COLOURS,
    COLUMN,
    GREEN,
    GREY,
    PAGE,
    RED,
    new_figure,
    paper,
    save_figure,
    words,
)

SPIKE = 4  # times the ninth decile of a plot's losses

History = Sequence[Mapping[str, Any]]


@paper()
def curves_plot(path: Path, history: History, chosen_epoch: int | None = None) -> None:
    """Losses on the left, accuracy, macro F1 and worst recall on the right, by epoch."""
    figure = new_figure(PAGE, 2.9)
    left, right = figure.subplots(1, 2)
    on = evaluated_images(history)
    _curve(left, history, "train_loss", GREY)
    _curve(left, history, f"{on}_loss", BLUE)
    _curve(right, history, "train_accuracy", GREY)
    _curve(right, history, f"{on}_accuracy", BLUE)
    _curve(right, history, f"{on}_macro_f1", GREEN)
    _curve(right, history, f"{on}_worst_recall", RED)
    validated = any(_points(history, f"{on}_{name}")[0] for name in ("loss", "accuracy"))
    left.set_ylabel("loss")
    right.set_ylabel("accuracy, macro F1, recall")
    right.set_ylim(-0.02, 1.02)
    _limit_spikes(left)
    for axes in (left, right):
        if chosen_epoch is not None:
            axes.axvline(chosen_epoch, color="black", linewidth=1, linestyle=":", label=f"chosen epoch {chosen_epoch}")
        _epoch_axis(axes, [int(line["epoch"]) for line in history])
        _shade_phases(axes, history, epoch_is="point")
        if not validated:
            axes.text(0.98, 0.03, "no validation", transform=axes.transAxes, ha="right", color=GREY)
        if axes.get_legend_handles_labels()[0]:
            # Above the curves, not on top of them.
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.suptitle("Training by epoch")
    save_figure(figure, path)


@paper()
def member_curves_plot(path: Path, histories: Mapping[str, History]) -> None:
    """Losses, accuracies and learning rates of all members of an ensemble, by name, one colour per member.

    A single one is a run.
    """
    figure = new_figure(PAGE, 2.6)
    left, middle, right = figure.subplots(1, 3)
    colours = _colours(len(histories))
    handles = []
    for (name, history), colour in zip(histories.items(), colours, strict=True):
        on = evaluated_images(history)
        # one per member, even if lines coincide
        handles.append(Line2D([], [], color=colour, label=member_label(name, histories)))
        for axes, result in ((left, "loss"), (middle, "accuracy")):
            _curve(axes, history, f"train_{result}", colour, linestyle=":", label="")
            _curve(axes, history, f"{on}_{result}", colour, label="")
    left.set_ylabel("loss")
    _limit_spikes(left)
    middle.set_ylabel("accuracy")
    middle.set_ylim(-0.02, 1.02)
    epochs = sorted({int(line["epoch"]) for history in histories.values() for line in history})
    for axes in (left, middle):
        _epoch_axis(axes, epochs)
    _learning_rates(right, list(histories.values()), colours)
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a member is named by its folder
    solid = " or ".join(sorted({evaluated_images(history) for history in histories.values()}))
    figure.suptitle(
        f"Training of the {'members' if len(histories) > 1 else 'run'} by epoch: {solid} images solid, training dotted"
    )
    save_figure(figure, path)


def member_label(name: str, histories: Mapping[str, History]) -> str:
    return f"member {name}" if len(histories) > 1 else "run"


def evaluated_images(history: History) -> str:
    """What every epoch was evaluated on, by its lines of metrics.jsonl: test or validation images."""
    return "test" if any("test_accuracy" in line for line in history) else "validation"


def _colours(count: int) -> list[Any]:
    return [COLOURS[k] if count <= len(COLOURS) else colormaps["turbo"](k / count) for k in range(count)]


@paper()
def learning_rate_plot(path: Path, history: History, chosen_epoch: int | None = None) -> None:
    """The learning rate from the first to the last step of each epoch (`lr_start`, `lr_end`)."""
    figure = new_figure(COLUMN, 2.3)
    axes = figure.add_subplot()
    _learning_rates(axes, [history], [BLUE])
    if chosen_epoch is not None:
        axes.axvline(chosen_epoch, color="black", linewidth=1, linestyle=":", label=f"chosen epoch {chosen_epoch}")
        axes.legend(framealpha=0.9, edgecolor="none")
    axes.set_title("Learning rate by epoch", pad=14)
    save_figure(figure, path)


def _learning_rates(axes: Axes, histories: Sequence[History], colours: Sequence[Any]) -> None:
    """A line for each history, with the phases of the schedule if they are the same for all."""
    epochs: list[float] = []
    rates: list[float] = []
    for history, colour in zip(histories, colours, strict=True):
        first_point = len(rates)
        for line in history:
            start, end = _value(line, "lr_start"), _value(line, "lr_end")
            if start is not None and end is not None:
                epochs += [line["epoch"] - 1, line["epoch"]]
                rates += [start, end]
        axes.plot(epochs[first_point:], rates[first_point:], color=colour, linewidth=1.1)
    if all(_phases(history) == _phases(histories[0]) for history in histories):
        _shade_phases(axes, histories[0])
    if not rates:
        axes.text(0.5, 0.5, "no learning rate recorded", transform=axes.transAxes, ha="center", color=GREY)
    axes.set_ylim(0, max(rates, default=0.0) * 1.06 or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    first, last = min(epochs, default=0.0), max(epochs, default=1.0)
    margin = 0.02 * (last - first)
    axes.set_xlim(first - margin, last + margin)
    axes.set_xlabel("epochs completed")
    axes.set_ylabel("learning rate (lr)")
    axes.grid(color="0.9")


def _phases(history: History) -> list[str]:
    """The phase of each epoch."""
    return [str(line.get("phase")) for line in history]


def _shade_phases(axes: Axes, history: History, *, epoch_is: str = "span") -> None:
    """A labelled band for each phase of the schedule, if there are several.

    On the axis an epoch is the span before its number, or a point with half an epoch on either side.
    """
    phases = _phases(history)
    starts = [k for k, name in enumerate(phases) if k == 0 or phases[k - 1] != name]
    if len(starts) < 2:
        return
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(history)
        first, last = history[start]["epoch"] - 1, history[end - 1]["epoch"]
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 6.5, "color": GREY}
        height = 1.01
        if epoch_is == "point":  # the legend is above the axes
            first, last, height = first + 0.5, last + 0.5, 0.01
        axes.axvspan(first, last, color="0.93" if number % 2 else "0.86", linewidth=0, zorder=0)
        axes.text((first + last) / 2, height, phases[start], transform=axes.get_xaxis_transform(), **style)


def _curve(axes: Axes, history: History, key: str, colour: Any, label: str | None = None, linestyle: str = "-") -> None:
    epochs, values = _points(history, key)
    if epochs:
        marker = "o" if len(epochs) <= 30 else None
        style: dict[str, Any] = {"marker": marker, "markersize": 2.2, "linewidth": 1.1, "linestyle": linestyle}
        axes.plot(epochs, values, color=colour, label=words(key) if label is None else label, **style)


def _limit_spikes(axes: Axes) -> None:
    """If a few losses are far above all others, end the axis below them; a mark at its top has their value.

    A run's first epoch is not a spike: the axis has room for the curve that begins lowest.
    """
    curves = [(line.get_color(), *np.asarray(line.get_data(), float)) for line in axes.get_lines()]
    if not curves:
        return
    values = np.concatenate([y for _, _, y in curves])
    usual = max(float(np.quantile(values, 0.9)), min(float(y[0]) for _, _, y in curves))
    if values.max() <= SPIKE * usual:
        return
    top = 1.5 * usual
    axes.set_ylim(0, top)
    for colour, *points in curves:
        for x, y in zip(*points, strict=True):
            if y > top:
                axes.plot(x, 0.98 * top, "^", color=colour, markersize=4)
                axes.annotate(f"{y:.3g}", (x, 0.95 * top), ha="center", va="top", fontsize=6, color=colour)


def _points(history: History, key: str) -> tuple[list[int], list[float]]:
    """Epochs and finite values of `key`, from the lines that have one."""
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
