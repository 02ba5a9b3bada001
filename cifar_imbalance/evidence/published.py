"""The tables printed in the paper, by name: NAME.csv has the classes, NAME.json the other results and remarks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

_TABLES = Path(__file__).parent / "tables"
PREFIX = "paper/"  # reference=paper/exp2 is the table exp2


def published_tables() -> list[str]:
    """The names accepted by `reference=`: paper/exp2, ..."""
    return [f"{PREFIX}{file.stem}" for file in sorted(_TABLES.glob("*.csv"))]


def read_published(name: str) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The JSON of `name`, and the row of each class by class name."""
    stem = name.removeprefix(PREFIX)
    with (_TABLES / f"{stem}.csv").open(encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    return json.loads((_TABLES / f"{stem}.json").read_text(encoding="utf-8")), rows
