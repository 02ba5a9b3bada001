"""The plot of a search: each pair of objectives with the Pareto front, or one objective trial by trial."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cifar_imbalance.configuration.fields import OBJECTIVES
from cifar_imbalance.report.plots.canvas import BLUE, COLUMN, GREY, PAGE, fitted, new_figure, paper, save_figure, words

if TYPE_CHECKING:
    from cifar_imbalance.report.search import TrialResult

ROOM = 0.12  # of what the points span, at each end, for the number of a trial on the front


@paper()
def front_plot(
    path: Path, trials: Sequence[TrialResult], front: Sequence[TrialResult], objectives: Sequence[str]
) -> None:
    """Grey the trials, blue and numbered those on the front; with one objective also the best so far."""
    if len(objectives) == 1:
        figure = new_figure(COLUMN, 2.6)
        _by_trial(figure.add_subplot(), trials, front, objectives[0])
    else:
        pairs = list(itertools.combinations(objectives, 2))
        rows, columns = -(-len(pairs) // 2), min(len(pairs), 2)
        figure = new_figure(PAGE if columns == 2 else COLUMN, 2.8 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, pair in zip(panels, pairs, strict=False):
            _pair(axes, trials, front, pair)
        for axes in panels[len(pairs) :]:
            axes.set_axis_off()
    figure.suptitle(fitted(f"Search: {len(trials)} trials, on the validation images", figure, 8.0), fontsize=8)
    save_figure(figure, path)


def _pair(axes: Axes, trials: Sequence[TrialResult], front: Sequence[TrialResult], pair: tuple[str, str]) -> None:
    x, y = _values(trials, pair)
    axes.plot(x, y, "o", color=GREY, markersize=3, alpha=0.6, label="trials")
    x, y = _values(front, pair)
    order = np.argsort(x, kind="stable")
    axes.plot(x[order], y[order], "o-", color=BLUE, markersize=4.5, linewidth=1, label="Pareto front")
    for trial, a, b in zip(front, x, y, strict=True):
        axes.annotate(trial.name, (a, b), xytext=(3, 3), textcoords="offset points", fontsize=7)
    axes.margins(ROOM)
    axes.set_xlabel(axis_name(pair[0]))
    axes.set_ylabel(axis_name(pair[1]))
    axes.legend(frameon=False)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)


def _by_trial(axes: Axes, trials: Sequence[TrialResult], front: Sequence[TrialResult], name: str) -> None:
    ended = [trial for trial in trials if trial.objectives]
    (values,) = _values(ended, (name,))
    numbers = [trial.number + 1 for trial in ended]
    best = np.maximum.accumulate(values) if OBJECTIVES[name] else np.minimum.accumulate(values)
    axes.plot(numbers, values, "o", color=GREY, markersize=3, alpha=0.6, label="trials")
    axes.step(numbers, best, where="post", color=BLUE, linewidth=1, label="best so far")
    for trial in front:
        assert trial.objectives is not None
        place = (trial.number + 1, trial.objectives[name])
        axes.annotate(trial.name, place, xytext=(3, 3), textcoords="offset points", fontsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(ROOM)
    axes.set_xlabel("trial")
    axes.set_ylabel(axis_name(name))
    axes.legend(frameon=False)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)


def axis_name(objective: str) -> str:
    return words(objective) + ("" if OBJECTIVES[objective] else " (less is better)")


def _values(trials: Sequence[TrialResult], names: Sequence[str]) -> list[np.ndarray]:
    """The values of each of these objectives, one for each trial that did not fail."""
    found = [[trial.objectives[name] for trial in trials if trial.objectives] for name in names]
    return [np.array(values) for values in found]
