"""Shared plotting helpers: figures as wide as a paper's column or page, colours, class names that fit.

They need no display and leave matplotlib's global state alone.
"""

from __future__ import annotations

import io
import logging
import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.configuration.fields import Plots

log = logging.getLogger(__name__)

DPI = 100  # at which figures are laid out
COLUMN, PAGE = 3.4, 7.0  # inches: the widths of a figure in one column of a paper, and across both
LONGEST_PAGE = 9.2  # inches, of a figure of up to 100 classes
STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "figure.titlesize": 8,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "legend.handlelength": 1.6,
    "pdf.fonttype": 42,  # TrueType, as journals ask for; matplotlib's own type 3 is what they refuse
}
LARGEST_IMAGE = 10**8  # pixels: a larger plot, of very many classes, has a lower resolution
LONGEST_NAME = 28  # characters
LARGEST_SIDE = 60  # inches
SMALLEST_NAME = 3.6  # points: smaller names are left out instead
EXTREMES_NAMED = 8  # classes at either end of a scatter plot
# matplotlib's own font first; then common ones for other scripts, if installed.
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
# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#707070"
COLOURS = (BLUE, ORANGE, GREEN, RED, "#cc79a7", "#56b4e9", "#000000", "#b8a800")


@contextmanager
def paper() -> Iterator[None]:
    """Sizes of text and lines for print while a figure is drawn and saved; a decorator of the plots, too."""
    with rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    layout = ConstrainedLayoutEngine(h_pad=0.05)  # inches
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


ROOM = 0.84  # of a figure's side that an axis has
LINE = 1.08  # height of a line of names, in font sizes
_plots = Plots()


def use(plots: Plots) -> None:
    """How this process saves its figures from now on."""
    global _plots
    _plots = plots


def save_figure(figure: Figure, path: Path) -> None:
    """Write the PNG file `path` and a PDF of the same name, if wanted; equal figures give equal bytes."""
    width, height = figure.get_size_inches()
    largest = max(DPI, math.isqrt(int(LARGEST_IMAGE / (width * height))))
    # Not Figure.savefig, which draws everything twice for each file.
    figure.set_dpi(min(_plots.dpi, largest))
    if _plots.png:
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
        atomic.write(path, lambda file: file.write(buffer.getvalue()))
        figure.set_layout_engine("none")  # it has done its work
    if _plots.pdf:
        pages = io.BytesIO()
        FigureCanvasPdf(figure).print_pdf(pages, metadata={"CreationDate": None})
        atomic.write(path.with_suffix(".pdf"), lambda file: file.write(pages.getvalue()))
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure)


def fitted(text: str, figure: Figure, size: float) -> str:
    """`text` in lines that fit the width of the figure at this font size, with ? for what no font can draw."""
    drawable = _drawable()
    text = "".join(character if ord(character) in drawable else "?" for character in text)
    letter = 0.55 * size / 72  # inches, of an average letter
    return "\n".join(textwrap.wrap(text, max(20, int(figure.get_figwidth() / letter))))


def words(name: str) -> str:
    """The name of a metric or a column in words: `validation_macro_f1` is "validation macro F1"."""
    plain = name.replace("_", " ").replace("f1", "F1").replace("train ", "training ")
    return plain.replace("worst recall", "recall of the worst class").replace("decile recall", "decile")


def pair_in_words(true: str, predicted: str, between: str = ", ") -> str:
    """The classes of a confusion. Each says which it is: names may be digits, which read as counts otherwise."""
    return f"true {true}{between}predicted {predicted}"


def shown_differences(
    differences: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[float, float]:
    """The ends of an axis for differences of recalls [K] with their intervals: beyond three times the largest
    difference an interval is cut off, since that of two seeds is often wider than what a recall can be."""
    largest = 3 * float(np.nanmax(np.abs(differences), initial=0.0))
    step = 0.05 if largest > 0.1 else 0.01
    reach = min(1.0, max(0.05, math.ceil(largest / step - 1e-9) * step))
    ends = [math.floor(float(np.nanmin(low, initial=0.0)) / step) * step, 0.0]
    ends += [math.ceil(float(np.nanmax(high, initial=0.0)) / step) * step]
    return round(max(-reach, min(ends)), 2), round(min(reach, max(ends)), 2)


def name_style(size: float) -> dict[str, Any]:
    """Text style of class names: any script, and no math mode (`$` and `_` are drawn literally)."""
    return {"parse_math": False, "fontsize": size, "fontfamily": list(_coverage())}


def name_axis(axes: Axes, which: str, names: Sequence[str], size: float, rotation: float = 0.0) -> None:
    """Names at 0, 1, 2, ... of the axis `which`, "x" or "y", of `size` points or as small as they must be to fit.

    If that is less than SMALLEST_NAME, as many are named as there is room for, at equal distances.
    """
    box = axes.figure.bbox
    points = ROOM * (box.height if which == "y" else box.width) / DPI * 72 / max(1, len(names))  # for each name
    size = min(size, max(points / LINE, SMALLEST_NAME))
    step = math.ceil(size * LINE / points - 1e-6)
    places, names = range(0, len(names), max(1, step)), names[:: max(1, step)]
    style = name_style(size)
    if which == "y":
        axes.set_yticks(places, names, **style)
    elif rotation == 90:
        axes.set_xticks(places, names, rotation=90, **style)
    else:
        axes.set_xticks(places, names, rotation=rotation, ha="right", rotation_mode="anchor", **style)


def tick_names(
    class_names: Sequence[str],
    absent: NDArray[np.bool_] | None = None,
    never_predicted: NDArray[np.bool_] | None = None,
) -> list[str]:
    """Class names as tick labels: one line, shortened, marked; `class 12` if no font can draw a name.

    Different names stay different.
    """
    drawable = _drawable()
    names: list[str] = []
    for index, name in enumerate(class_names):
        line = " ".join(name.split())
        if not line or not all(ord(character) in drawable for character in line):
            if line:
                _tell_once()
            line = f"class {index}"
        if len(line) > LONGEST_NAME:
            half = (LONGEST_NAME - 1) // 2
            line = f"{line[:half].rstrip()}…{line[-half:].lstrip()}"
        mark = " (absent)" if absent is not None and absent[index] else ""
        mark += " (never predicted)" if never_predicted is not None and never_predicted[index] else ""
        names.append(line + mark)
    twice = {name for name, count in Counter(names).items() if count > 1}
    return [f"{name} ({index})" if name in twice else name for index, name in enumerate(names)]


def name_extremes(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    by: NDArray[np.float64],
    class_names: Sequence[str],
    most: int = EXTREMES_NAMED,
) -> None:
    """Label the points [K] of the classes with the lowest and highest values of `by`, `most` of each."""
    present = np.flatnonzero(~np.isnan(by))
    order = present[np.argsort(by[present], kind="stable")]
    if len(order) > 2 * most:
        order = np.concatenate([order[:most], order[-most:]])
    names = tick_names(class_names)
    style = name_style(6)
    axes.figure.canvas.draw()  # so that positions in pixels are known
    occupied: list[Bbox] = []
    for index in sorted(order, key=lambda k: -abs(by[k])):
        # Upper right, lower right, upper left, lower left; a name that would overlap another is omitted.
        for dx, dy, ha, va in (
            (3, 2, "left", "bottom"),
            (3, -2, "left", "top"),
            (-3, 2, "right", "bottom"),
            (-3, -2, "right", "top"),
        ):
            place: dict[str, Any] = {"xytext": (dx, dy), "textcoords": "offset points", "ha": ha, "va": va}
            label = axes.annotate(names[index], (x[index], y[index]), **place, **style)
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in occupied):
                occupied.append(box)
                break
            label.remove()


@cache
def _tell_once() -> None:
    log.info("no installed font can draw some class names: plots show their numbers (Noto Sans CJK has most)")


@cache
def _drawable() -> frozenset[int]:
    """The code points that some installed font can draw."""
    return frozenset[int]().union(*_coverage().values())


@cache
def _coverage() -> dict[str, frozenset[int]]:
    """The fonts of `_FONTS` that are installed, and the code points that each can draw."""
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    fonts = {}
    for family in _FONTS:
        if family in installed:
            file = font_manager.findfont(font_manager.FontProperties(family=family))
            fonts[family] = frozenset(FT2Font(file).get_charmap())
    return fonts
