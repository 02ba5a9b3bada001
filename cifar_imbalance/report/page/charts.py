"""Options of ECharts for the page's charts: plain dictionaries. Texts of tooltips are made by page.js, by `tooltip`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.report.page.parts import Chart
from cifar_imbalance.report.page.ranges import linear_range, log_range
from cifar_imbalance.report.plots.canvas import shown_differences

SYMBOLS_UP_TO = 40  # points of a line
EPOCHS_UP_TO = 100  # columns of a heat map by epoch; of more epochs every so many is shown
CLASSES_UP_TO = 300  # rows of such a heat map
BLUE, ORANGE, RED = "#0072b2", "#e69f00", "#d55e00"  # as in the plots
WHOLE = ("epoch", "members", "trial")  # axes of whole numbers
LEAST_SPAN = 0.05  # of an axis of accuracies or recalls of one set of logits: a few images are no large effect
LINE = 26  # characters of a line of a point's label
Points = Sequence[tuple[float, float]]


def rounded(value: float, digits: int = 4) -> float | None:
    """To so many significant digits; None for what JSON and a chart cannot have."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def lines_chart(title: str, lines: Mapping[str, Points], *, x: str, y: str, note: str = "", height: int = 320) -> Chart:
    """One line for each name; lines without points are left out."""
    series = [
        {
            "type": "line",
            "name": name,
            "data": [[rounded(a), rounded(b)] for a, b in points],
            "showSymbol": len(points) <= SYMBOLS_UP_TO,
        }
        for name, points in lines.items()
        if points
    ]
    return Chart(
        title, {**_axes(x, y), "legend": _legend(), "tooltip": _tooltip("axis"), "series": series}, height, note
    )


def front_chart(title: str, groups: Mapping[str, Points], *, x: str, y: str, note: str = "") -> Chart:
    """A small point for each run of a group, a large one for their mean with bars of the standard deviation."""
    series: list[dict[str, Any]] = []
    shown: list[NDArray[np.float64]] = []
    for name, points in groups.items():
        values = np.array(points, dtype=np.float64)
        mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(2)
        centre = [rounded(mean[0]), rounded(mean[1])]
        series.append({"type": "scatter", "name": name, "data": [centre], "symbolSize": 13, "clip": False})
        runs = [[rounded(a), rounded(b)] for a, b in values]
        small = {"symbolSize": 5, "itemStyle": {"opacity": 0.7}, "clip": False}
        series.append({"type": "scatter", "name": name, "data": runs, **small})
        shown += [values, np.clip([mean - sd, mean + sd], 0, 1)]  # they are shares, a bar of whose sd may leave 0 to 1
        for ends in ([(-sd[0], 0), (sd[0], 0)], [(0, -sd[1]), (0, sd[1])]):
            bar = [[rounded(mean[0] + a), rounded(mean[1] + b)] for a, b in ends]
            if sd.any():
                series.append({"type": "line", "name": name, "data": bar, "symbol": "none", "silent": True})
    across, up = np.concatenate(shown).T
    axes = _axes(x, y, linear_range(across), linear_range(up))
    option = {**axes, "legend": {**_legend(), "data": list(groups)}, "tooltip": _tooltip("item", "point")}
    return Chart(title, {**option, "series": series, "coloured_by_name": True}, 460, note)


def scatter_chart(
    title: str,
    points: Sequence[tuple[str, float, float]],
    *,
    x: str,
    y: str,
    diagonal: bool = False,
    log: bool = False,
    note: str = "",
) -> Chart:
    """A point for each class or trial: its name, x and y; those with an unknown one are left out.

    With a `diagonal`, both axes are of recalls; with `log`, that of x is logarithmic.
    """
    data = [
        {"name": name, "value": [rounded(a), rounded(b)]}
        for name, a, b in points
        if not (math.isnan(a) or math.isnan(b))
    ]
    series: list[dict[str, Any]] = [{"type": "scatter", "data": data, "symbolSize": 8, "clip": False}]
    across, up = [point[1] for point in points], [point[2] for point in points]
    axes = _axes(x, y, log_range(across) if log else linear_range(across), linear_range(up))
    if log:
        axes["xAxis"]["type"] = "log"
    if diagonal:
        axes = _axes(x, y)
        ends = [[0, 0], [1, 1]]
        series.append({"type": "line", "data": ends, "symbol": "none", "silent": True, "lineStyle": {"type": "dashed"}})
    return Chart(title, {**axes, "tooltip": _tooltip("item", "point"), "series": series}, 420, note)


def pareto_chart(
    title: str,
    points: Sequence[tuple[str, float, float]],
    front: Sequence[tuple[str, float, float]],
    *,
    x: str,
    y: str,
) -> Chart:
    """A point for each trial: its name, x and y; those of the front are large and joined in the order of x."""

    def data(of: Sequence[tuple[str, float, float]]) -> list[dict[str, Any]]:
        return [{"name": name, "value": [rounded(a), rounded(b)]} for name, a, b in of]

    joined = data(sorted(front, key=lambda point: point[1]))
    best = {"type": "line", "name": "Pareto front", "data": joined, "symbol": "circle", "symbolSize": 12}
    series = [{"type": "scatter", "name": "trials", "data": data(points), "symbolSize": 7}, best]
    axes = _axes(x, y, linear_range(point[1] for point in points), linear_range(point[2] for point in points))
    series = [{**one, "clip": False} for one in series]  # a point on the frame is shown whole
    return Chart(title, {**axes, "legend": _legend(), "tooltip": _tooltip("item", "point"), "series": series}, 420)


def bars_chart(title: str, values: Sequence[tuple[str, float]], *, y: str, note: str = "") -> Chart:
    """A bar for each name, in the order given."""
    axes = _axes("", y)
    axes["xAxis"] = {
        "type": "category",
        "data": [name for name, _ in values],
        "axisLabel": {"rotate": 90, "fontSize": 10, "hideOverlap": True},
    }
    series = [{"type": "bar", "data": [rounded(value) for _, value in values]}]
    return Chart(title, {**axes, "tooltip": _tooltip("item", "bar"), "series": series}, 360, note)


def intervals_chart(
    title: str,
    values: Sequence[tuple[str, float, float, float]],
    verdicts: Sequence[str],
    *,
    x: str,
    note: str = "",
) -> Chart:
    """A row for each name, from the top: a point at its value on the line from low to high, coloured by its verdict.

    A line that is far longer than the differences ends in an arrow at the edge, which the note then says.
    """
    of_value, low, high = (np.array([value[k] for value in values], dtype=np.float64) for k in (1, 2, 3))
    left, right = shown_differences(of_value, low, high)
    beyond = [(left, 90, low < left), (right, -90, high > right)]
    if any(rows.any() for _, _, rows in beyond):
        note = f"{note} An arrow: the interval is cut off.".strip()
    series: list[dict[str, Any]] = []
    for verdict, label, colour in (("", "within noise", "#8d98b3"), ("gained", "gained", BLUE), ("lost", "lost", RED)):
        of_this = [row for row, one in enumerate(verdicts) if one == verdict]
        if not of_this:
            continue
        points = [
            {"name": values[row][0], "value": [rounded(values[row][1]), row, *map(rounded, values[row][2:])]}
            for row in of_this
        ]
        lines: list[Any] = []
        for row in of_this:  # a line without a value between two intervals is broken there
            ends = max(left, low[row]), min(right, high[row])
            lines += [[rounded(ends[0]), row], [rounded(ends[1]), row], [None, None]]
        series.append({"type": "scatter", "name": label, "data": points, "symbolSize": 7, "color": colour})
        series.append(
            {"type": "line", "name": label, "data": lines, "symbol": "none", "silent": True, "color": colour}
            | {"lineStyle": {"width": 1.5}}
        )
        for edge, rotation, rows in beyond:
            arrows = [[edge, row] for row in of_this if rows[row]]
            if arrows:
                series.append(
                    {"type": "scatter", "name": label, "data": arrows, "symbol": "triangle", "symbolSize": 7}
                    | {"symbolRotate": rotation, "silent": True, "color": colour, "clip": False}
                )
    option = {
        "grid": {"containLabel": True, "left": 8, "right": 24, "top": 44, "bottom": 30},
        "legend": _legend(),
        "xAxis": {"type": "value", "name": x, "nameLocation": "middle", "nameGap": 28, "min": left, "max": right}
        | {"axisLabel": {"hideOverlap": True}},
        "yAxis": {
            "type": "category",
            "data": [name for name, *_ in values],
            "inverse": True,
            "axisLabel": {"fontSize": 10, "interval": 0 if len(values) <= CLASSES_UP_TO else "auto"},
        },
        "tooltip": _tooltip("item", "interval"),
        "series": series,
    }
    return Chart(title, option, 110 + min(14 * len(values), 4000), note)


def marked_lines_chart(
    title: str,
    lines: Mapping[str, tuple[str, Sequence[tuple[str, float, float]]]],
    mark: tuple[str, float, float],
    *,
    x: str,
    y: str,
    large: Set[str] = frozenset(),
    note: str = "",
) -> Chart:
    """Lines of a colour through named points (name, x, y), and one large point of its own, the `mark`.

    Those named in `large` are larger than others. Points at one place share a label with all their names. Labels
    are above the points of the first line and below those of the next; where two would overlap, that of the larger
    point is shown.
    """
    points = [mark, *(point for _, of_line in lines.values() for point in of_line)]
    names: dict[tuple[float, float], list[str]] = {}
    for name, *place in points:
        names.setdefault((place[0], place[1]), []).append(name)
    labelled = {mark[1:]}

    def data(points: Sequence[tuple[str, float, float]]) -> list[dict[str, Any]]:
        found = []
        for _, a, b in points:
            of_another = {"label": {"show": False}} if (a, b) in labelled else {}
            size = {"symbolSize": 11} if not large.isdisjoint(names[a, b]) else {}
            found.append({"name": _joined(names[a, b]), "value": [rounded(a), rounded(b)], **size, **of_another})
            labelled.add((a, b))
        return found

    label = {"show": True, "formatter": "{b}", "position": "top", "fontSize": 11}
    sides = ("top", "bottom")
    marked = [{"name": _joined(names[mark[1:]]), "value": [rounded(mark[1]), rounded(mark[2])]}]
    of_mark = {"type": "scatter", "name": mark[0], "data": marked, "symbol": "diamond", "symbolSize": 16, "z": 3}
    series: list[dict[str, Any]] = [
        {"type": "line", "name": name, "data": data(points), "color": colour, "symbolSize": 7}
        | {"label": {**label, "position": sides[number % 2]}}
        for number, (name, (colour, points)) in enumerate(lines.items())
    ]
    series.append({**of_mark, "color": RED, "label": {**label, "fontWeight": "bold"}})
    across, up = [point[1] for point in points], [point[2] for point in points]
    axes = _axes(x, y, linear_range(across, at_least=LEAST_SPAN), linear_range(up, at_least=LEAST_SPAN))
    series = [{**one, "clip": False} for one in series]
    option = {**axes, "legend": _legend(), "tooltip": _tooltip("item", "point"), "series": series}
    return Chart(title, option, 400, note)


def _joined(names: Sequence[str]) -> str:
    """The names of points at one place in lines, without a first word that the one before has: "power 0, 0.5"."""
    words, before = [], None
    for name in dict.fromkeys(names):
        first, _, rest = name.partition(" ")
        words.append(rest if first == before else name)
        before = first
    return textwrap.fill(", ".join(words), LINE, break_long_words=False)


def by_epoch_chart(
    title: str, values: Sequence[NDArray[Any]], names: Sequence[str], *, order: NDArray[np.int64], value: str
) -> Chart:
    """A heat map of epoch by class from the `values` [K] of each epoch, the classes in this order from the top."""
    step = math.ceil(len(values) / EPOCHS_UP_TO)
    epochs = [epoch for epoch in range(1, len(values) + 1) if epoch % step == 0 or epoch == len(values)]
    shown = order[:CLASSES_UP_TO]
    data = [
        [column, row, rounded(float(values[epoch - 1][k]), 3)]
        for column, epoch in enumerate(epochs)
        for row, k in enumerate(shown)
        if not math.isnan(values[epoch - 1][k])
    ]
    limits = [entry[2] for entry in data if entry[2] is not None] or [0.0, 1.0]
    note = "" if len(shown) == len(order) else f"The first {len(shown)} of {len(order)} classes."
    option = {
        "grid": {"containLabel": True, "left": 8, "right": 24, "top": 12, "bottom": 84},
        "xAxis": {"type": "category", "data": epochs, "name": "epoch", "nameLocation": "middle", "nameGap": 26},
        "yAxis": {
            "type": "category",
            "data": [names[k] for k in shown],
            "inverse": True,
            "axisLabel": {"fontSize": 10, "hideOverlap": True},
        },
        "visualMap": {
            "dimension": 2,
            "min": min(0.0, *limits),
            "max": max(*limits, min(limits) + 1e-3),
            "orient": "horizontal",
            "left": "center",
            "bottom": 0,
            "calculable": True,
            "precision": 2,
        },
        "tooltip": _tooltip("item", "by_epoch"),
        "series": [{"type": "heatmap", "name": value, "data": data, "progressive": 0}],
    }
    return Chart(title, option, 170 + min(11 * len(shown), 1400), note)


def _axes(
    x: str, y: str, across: Mapping[str, float] | None = None, up: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The axes of x and y, between ends of `across` and `up`, if there are any: those of `ranges`."""
    whole = {"minInterval": 1} if x in WHOLE else {}
    return {
        "grid": {"containLabel": True, "left": 30, "right": 24, "top": 44, "bottom": 30},
        "xAxis": {
            "type": "value",
            "scale": True,
            "name": x,
            "nameLocation": "middle",
            "nameGap": 28,
            "axisLabel": {"hideOverlap": True},
            **(whole or across or {}),
        },
        "yAxis": {"type": "value", "scale": True, "name": y, "nameLocation": "middle", "nameGap": 44, **(up or {})},
    }


def _legend() -> dict[str, Any]:
    return {"type": "scroll", "top": 0}


def _tooltip(trigger: str, text: str | None = None) -> dict[str, Any]:
    """Drawn, not set as HTML: names of classes are a stranger's."""
    return {"trigger": trigger, "renderMode": "richText", "confine": True, **({"text": text} if text else {})}
