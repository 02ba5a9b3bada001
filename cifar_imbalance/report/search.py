"""The report of a search: its trials and their Pareto front as tables, plot and page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cifar_imbalance import atomic
from cifar_imbalance.configuration.fields import OBJECTIVES
from cifar_imbalance.report.csv_text import csv_text
from cifar_imbalance.report.page.of_search import search_page
from cifar_imbalance.report.page.parts import Part
from cifar_imbalance.report.page.write import write_page
from cifar_imbalance.report.parameters import shown_parameters
from cifar_imbalance.report.plots.searches import front_plot


@dataclass(frozen=True)
class TrialResult:
    """A trial that has ended. Trials are numbered from 0 here and from 1 in what is written."""

    number: int
    parameters: Mapping[str, str]  # by field or group; those that it drew
    objectives: Mapping[str, float] | None  # of the validation images; None if it failed
    on_front: bool  # no other trial is at least as good in all objectives and better in one
    folder: str  # of its run, within the search's
    failed: str | None = None  # why

    @property
    def name(self) -> str:
        return f"{self.number + 1}"


def write_search_report(
    folder: Path,
    trials: Sequence[TrialResult],
    objectives: Sequence[str],
    *,
    logarithmic: Collection[str] = (),
    origin: Sequence[Part],
) -> str:
    """Write trials.csv, front.csv, front.png and report.html into `folder`; returns the front as text.

    `logarithmic` are the parameters that were drawn on a logarithmic scale, `origin` the last parts of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    front = front_of(trials, objectives)
    atomic.write_text(folder / "trials.csv", _csv(trials, objectives))
    atomic.write_text(folder / "front.csv", _csv(front, objectives))
    text = _text(trials, front, objectives)
    if front:
        front_plot(folder / "front.png", trials, front, objectives)
    page = search_page(trials, front, objectives, logarithmic=logarithmic, text=text, origin=origin)
    write_page(folder / "report.html", page)
    return text


def front_of(trials: Sequence[TrialResult], objectives: Sequence[str]) -> list[TrialResult]:
    """The trials on the Pareto front, by the first objective, the best first."""
    sign = -1 if OBJECTIVES[objectives[0]] else 1
    found = [(sign * trial.objectives[objectives[0]], trial) for trial in trials if trial.on_front and trial.objectives]
    return [trial for _, trial in sorted(found, key=lambda pair: pair[0])]


def parameter_names(trials: Sequence[TrialResult]) -> list[str]:
    return list(dict.fromkeys(name for trial in trials for name in trial.parameters))


def _csv(trials: Sequence[TrialResult], objectives: Sequence[str]) -> str:
    """A row for each trial; of one that failed the objectives are empty, of one that did not draw it a parameter."""
    names = parameter_names(trials)
    rows = [
        [
            trial.name,
            *("" if trial.objectives is None else f"{trial.objectives[name]:.6g}" for name in objectives),
            *(trial.parameters.get(name, "") for name in names),
            "yes" if trial.on_front else "",
            trial.folder,
            trial.failed or "",
        ]
        for trial in trials
    ]
    return csv_text(["trial", *objectives, *names, "on_front", "folder", "failed"], rows)


def _text(trials: Sequence[TrialResult], front: Sequence[TrialResult], objectives: Sequence[str]) -> str:
    failed = [trial for trial in trials if trial.failed]
    what = "the best trial" if len(objectives) == 1 else "the Pareto front"
    lines = [f"{what} of {len(trials)} trials, by {', '.join(objectives)} of the validation images"]
    if failed:
        lines += [f"{len(failed)} failed, the first, trial {failed[0].name}: {failed[0].failed}"]
    parameters = shown_parameters([trial.parameters for trial in front])
    cells = [["trial", *objectives, *parameters]]
    for place, trial in enumerate(front):
        assert trial.objectives is not None
        values = [f"{trial.objectives[name]:.4f}" for name in objectives]
        cells.append([trial.name, *values, *(shown[place] for shown in parameters.values())])
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines += ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(lines)
