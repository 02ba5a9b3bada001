"""What a page is made of: cards, charts, tables, texts and the confusions with their images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = -1e300  # what an unknown number is sorted by


@dataclass(frozen=True)
class Card:
    value: str
    label: str
    note: str = ""  # such as an interval


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, what it is sorted by, a bar from 0 to 1 with its interval, a pair to be shown."""

    text: str
    sort: float | str | None = None
    bar: float | None = None
    interval: tuple[float, float] | None = None
    pair: tuple[int, int] | None = None  # true class, predicted class

    @property
    def is_number(self) -> bool:
        return isinstance(self.sort, float)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> Cell:
    """An unknown one is a dash, sorted first; by a number, since DataTables would sort the column as text otherwise."""
    if value is None or math.isnan(value):
        return Cell("-", UNKNOWN)
    return Cell(f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}", float(value))


def count(value: int) -> Cell:
    return Cell(f"{value}", float(value))


@dataclass(frozen=True)
class Chart:
    title: str
    option: dict[str, Any]  # of ECharts, plain values only
    height: int = 320  # pixels
    note: str = ""
    kind: str = "chart"


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Text:
    """Lines as they are, folded away until they are opened."""

    title: str
    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Sprite:
    """Images in rows, as one picture."""

    address: str = ""  # a data: address
    tile: int = 0  # side in pixels of an image in it
    across: int = 0  # images in a row


@dataclass(frozen=True)
class GalleryImage:
    true: str  # class
    predicted: str
    probability: float  # of the predicted class
    file: str = ""
    pair: tuple[int, int] | None = None  # true class, predicted class, whose images are shown on demand


@dataclass(frozen=True)
class Gallery:
    """Images with their classes, in the order of their places in the sprite."""

    sprite: Sprite = field(default_factory=Sprite)
    images: Sequence[GalleryImage] = ()
    note: str = ""  # why there are none
    kind: str = "gallery"


@dataclass(frozen=True)
class Confusions:
    """The confusion matrix, and the images of its mistakes, if there are any, in one picture."""

    names: Sequence[str]
    cells: Sequence[tuple[int, int, int]]  # true class, predicted class, images; those with images
    support: Sequence[int]  # images of each class
    sprite: Sprite = field(default_factory=Sprite)
    places: dict[str, list[int]] = field(default_factory=dict)  # "true,predicted": where its images are
    kind: str = "confusions"


Part = Chart | Table | Text | Confusions | Gallery


@dataclass(frozen=True)
class Page:
    title: str
    subtitle: str
    cards: Sequence[Card]
    parts: Sequence[Part]
    notice: str = ""  # above everything else
