"""The ends of a chart's axes: round numbers with room for the points, within what a value can be."""

from __future__ import annotations

import math
from collections.abc import Iterable

ROOM = 0.05  # of what the points span, at both ends


def linear_range(values: Iterable[float], *, at_least: float = 0.0) -> dict[str, float]:
    """The ends and the step of an axis in ECharts' words; none where no value is known.

    It spans `at_least` so much, by which small effects look small. If no value is negative, it has none, and if none
    is more than 1, it ends there: values are shares or not negative.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return {}
    low, high = min(known), max(known)
    span = max(high - low, at_least) or abs(low) / 5 or 1.0
    step = _round_up(span / 5)
    middle, half = (low + high) / 2, (0.5 + ROOM) * span
    left, right = math.floor((middle - half) / step) * step, math.ceil((middle + half) / step) * step
    left, right = (max(0.0, left) if low >= 0 else left), (min(1.0, right) if high <= 1 else right)
    return {"min": round(left, 12), "max": round(right, 12), "interval": step}


def log_range(values: Iterable[float]) -> dict[str, float]:
    """The ends of a logarithmic axis for `values` above 0, in ECharts' words; none where no value is known."""
    known = [value for value in values if math.isfinite(value)]
    return {"min": 1 / _round_up(1.1 / min(known)), "max": _round_up(1.1 * max(known))} if known else {}


def _round_up(value: float) -> float:
    """1, 2 or 5 times a power of ten, at or above a value of more than 0."""
    exponent = math.floor(math.log10(value))
    found = next(digit for digit in (1, 2, 5, 10) if digit * 10.0**exponent >= value * (1 - 1e-9))
    return float(f"{found}e{exponent}")
