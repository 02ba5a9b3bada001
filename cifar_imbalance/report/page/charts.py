"""Options of ECharts for the page's charts: plain dictionaries. Texts of tooltips are made by page.js, by `tooltip`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.report.page.parts import Chart
from cifar_imbalance.report.plots.canvas import shown_differences

SYMBOLS_UP_TO = 40  # points of a line
EPOCHS_UP_TO = 100  # columns of a heat map by epoch; of more epochs every so many is shown
CLASSES_UP_TO = 300  # rows of such a heat map
BLUE, ORANGE, RED = "#0072b2", "#e69f00", "#d55e00"  # as in the plots
WHOLE = ("epoch", "members", "trial")  # axes of whole numbers
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
    for name, points in groups.items():
        values = np.array(points, dtype=np.float64)
        mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(2)
        centre = [rounded(mean[0]), rounded(mean[1])]
        series.append({"type": "scatter", "name": name, "data": [centre], "symbolSize": 13})  # first, for the legend
        runs = [[rounded(a), rounded(b)] for a, b in values]
        series.append({"type": "scatter", "name": name, "data": runs, "symbolSize": 5, "itemStyle": {"opacity": 0.7}})
        for ends in ([(-sd[0], 0), (sd[0], 0)], [(0, -sd[1]), (0, sd[1])]):
            bar = [[rounded(mean[0] + a), rounded(mean[1] + b)] for a, b in ends]
            if sd.any():
                series.append({"type": "line", "name": name, "data": bar, "symbol": "none", "silent": True})
    axes = _axes(x, y)
    for which in ("xAxis", "yAxis"):
        axes[which]["boundaryGap"] = ["5%", "5%"]  # so that no point is on the edge
    option = {**axes, "legend": {**_legend(), "data": list(groups)}, "tooltip": _tooltip("item", "point")}
    return Chart(title, {**option, "series": series, "coloured_by_name": True}, 460, note)


def scatter_chart(
    title: str, points: Sequence[tuple[str, float, float]], *, x: str, y: str, diagonal: bool = False, note: str = ""
) -> Chart:
    """A point for each class: its name, x and y; those with an unknown one are left out."""
    data = [
        {"name": name, "value": [rounded(a), rounded(b)]}
        for name, a, b in points
        if not (math.isnan(a) or math.isnan(b))
    ]
    series: list[dict[str, Any]] = [{"type": "scatter", "data": data, "symbolSize": 8}]
    if diagonal:
        ends = [[0, 0], [1, 1]]
        series.append({"type": "line", "data": ends, "symbol": "none", "silent": True, "lineStyle": {"type": "dashed"}})
    return Chart(title, {**_axes(x, y), "tooltip": _tooltip("item", "point"), "series": series}, 420, note)


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
    return Chart(
        title, {**_axes(x, y), "legend": _legend(), "tooltip": _tooltip("item", "point"), "series": series}, 420
    )


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
    note: str = "",
) -> Chart:
    """Lines of a colour through named points (name, x, y), and one large point of its own, the `mark`."""

    def data(points: Sequence[tuple[str, float, float]]) -> list[dict[str, Any]]:
        return [{"name": name, "value": [rounded(a), rounded(b)]} for name, a, b in points]

    label = {"show": True, "formatter": "{b}", "position": "top", "fontSize": 11}
    series: list[dict[str, Any]] = [
        {"type": "line", "name": name, "data": data(points), "color": colour, "symbolSize": 7, "label": label}
        | {"labelLayout": {"hideOverlap": True}}
        for name, (colour, points) in lines.items()
    ]
    series.append(
        {"type": "scatter", "name": mark[0], "data": data([mark]), "symbol": "diamond", "symbolSize": 16, "color": RED}
        | {"label": {**label, "fontWeight": "bold"}, "z": 3}
    )
    return Chart(
        title, {**_axes(x, y), "legend": _legend(), "tooltip": _tooltip("item", "point"), "series": series}, 400, note
    )


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


def _axes(x: str, y: str) -> dict[str, Any]:
    whole = {"minInterval": 1} if x in WHOLE else {}
    return {
        "grid": {"containLabel": True, "left": 30, "right": 24, "top": 44, "bottom": 30},
        "xAxis": {
            "type": "value",
            "scale": True,
            "name": x,
            **whole,
            "nameLocation": "middle",
            "nameGap": 28,
        },
        "yAxis": {"type": "value", "scale": True, "name": y, "nameLocation": "middle", "nameGap": 44},
    }


def _legend() -> dict[str, Any]:
    return {"type": "scroll", "top": 0}


def _tooltip(trigger: str, text: str | None = None) -> dict[str, Any]:
    """Drawn, not set as HTML: names of classes are a stranger's."""
    return {"trigger": trigger, "renderMode": "richText", "confine": True, **({"text": text} if text else {})}
