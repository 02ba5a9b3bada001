"""The page of a search."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from cifar_imbalance.report.page.charts import pareto_chart, scatter_chart
from cifar_imbalance.report.page.parts import Card, Cell, Page, Part, Table, Text, count, number
from cifar_imbalance.report.parameters import as_number, shown_parameters
from cifar_imbalance.report.plots.canvas import words
from cifar_imbalance.report.plots.searches import axis_name

if TYPE_CHECKING:
    from cifar_imbalance.report.search import TrialResult


def search_page(
    trials: Sequence[TrialResult],
    front: Sequence[TrialResult],
    objectives: Sequence[str],
    *,
    logarithmic: Collection[str],
    text: str,
    origin: Sequence[Part],
) -> Page:
    """`front` are the best of the `trials`, `text` is their table in words, `origin` how they came about; the
    parameters that were drawn on a logarithmic scale are shown on one."""
    parts: list[Part] = []
    for x, y in itertools.combinations(objectives, 2):
        title = f"{words(x).capitalize()} and {words(y)} of the validation images"
        parts.append(pareto_chart(title, _points(trials, x, y), _points(front, x, y), x=axis_name(x), y=axis_name(y)))
    if len(objectives) == 1:
        points = [(_name(t), t.number + 1.0, t.objectives[objectives[0]]) for t in trials if t.objectives]
        parts.append(scatter_chart("Trial by trial", points, x="trial", y=axis_name(objectives[0])))
    title = "Best trial" if len(objectives) == 1 else "Pareto front"
    note = "No other trial is at least as good in every objective and better in one."
    parts.append(_table(title, front, objectives, note))
    for name in _numeric(trials):
        for objective in objectives:
            values = [
                (_name(t), float(t.parameters[name]), t.objectives[objective])
                for t in trials
                if t.objectives and name in t.parameters
            ]
            title, log = f"{words(objective).capitalize()} by {name}", name in logarithmic
            parts.append(scatter_chart(title, values, x=name, y=axis_name(objective), log=log))
    parts.append(_table("All trials", trials, objectives, ""))
    parts += [Text("In words", text), *origin]
    failed = sum(trial.failed is not None for trial in trials)
    cards = [Card(str(len(trials)), "trials", f"{failed} failed" if failed else "")]
    for name in objectives:
        best = [(trial.objectives[name], trial.name) for trial in front if trial.objectives]
        if best:
            value, of = max(best) if axis_name(name) == words(name) else min(best)
            cards.append(Card(f"{value:.3f}", f"best {words(name)}", f"trial {of}"))
    subtitle = (
        f"by {', '.join(words(name) for name in objectives)} of the validation images; test images have no part in it"
    )
    return Page("Search", subtitle, cards, parts)


def _table(title: str, trials: Sequence[TrialResult], objectives: Sequence[str], note: str) -> Table:
    texts = shown_parameters([trial.parameters for trial in trials])
    rows = []
    for place, trial in enumerate(trials):
        values = [number(None if trial.objectives is None else trial.objectives[name], 4) for name in objectives]
        drawn = [_drawn(trial.parameters.get(name), shown[place]) for name, shown in texts.items()]
        rows.append([count(trial.number + 1), *values, *drawn, Cell(trial.failed or trial.folder)])
    return Table(title, ["trial", *map(words, objectives), *texts, "folder"], rows, note)


def _drawn(value: str | None, shown: str) -> Cell:
    if value is None:
        return number(None)
    return Cell(shown, found) if (found := as_number(value)) is not None else Cell(shown)


def _numeric(trials: Sequence[TrialResult]) -> list[str]:
    """The parameters that are numbers in all trials that drew them."""
    names = dict.fromkeys(name for trial in trials for name in trial.parameters)
    return [
        name
        for name in names
        if all(as_number(trial.parameters[name]) is not None for trial in trials if name in trial.parameters)
    ]


def _points(trials: Sequence[TrialResult], x: str, y: str) -> list[tuple[str, float, float]]:
    return [(_name(trial), trial.objectives[x], trial.objectives[y]) for trial in trials if trial.objectives]


def _name(trial: TrialResult) -> str:
    return f"trial {trial.name}: {' '.join(f'{name}={value}' for name, value in trial.parameters.items())}"
