"""Constraints on fields' values: `Annotated[float, Range(0, 1)]`, `Annotated[str, Choices("a", "b")]`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from cifar_imbalance.errors import UsageError, choose_from

LARGEST = 1e6  # of any value without a limit of its own: far above every useful one, and safe to compute with
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; an open end is excluded."""

    low: float = 0.0
    high: float = LARGEST
    low_open: bool = False
    high_open: bool = False

    def contains(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return math.isfinite(value) and above and below

    def check(self, path: str, value: Any) -> None:
        """Raises UsageError for a `value` of the field `path` that is not in the range."""
        if not self.contains(value):
            # Only whoever exceeds the limit of all values needs to know it.
            raise UsageError(f"{path}={value}: allowed is {self._both if value > self.high else self.allowed}")

    @property
    def allowed(self) -> str:
        """The range in words, without an upper end that is no more than the limit of all values."""
        return self._low if self.high == LARGEST else self._both

    @property
    def _low(self) -> str:
        return f"{'more than' if self.low_open else 'at least'} {self.low:.10g}"

    @property
    def _both(self) -> str:
        return f"{self._low} and {'less than' if self.high_open else 'at most'} {self.high:.10g}"


class Choices(tuple[str, ...]):
    """The names that a field may have."""

    def __new__(cls, *names: str) -> Choices:
        return super().__new__(cls, names)

    def check(self, path: str, value: Any) -> None:
        """Raises UsageError for a `value` of the field `path` that is not one of the names."""
        if value not in self:
            raise choose_from(path, value, self)

    @property
    def allowed(self) -> str:
        return ", ".join(self)


Rule = Range | Choices

LARGEST_SEED = 2**32 - 1

Count = Annotated[int, Range(1)]
WholeNumber = Annotated[int, Range()]
NotNegative = Annotated[float, Range()]
Positive = Annotated[float, Range(low_open=True)]
Share = Annotated[float, Range(0, 1)]
ShareBelowOne = Annotated[float, Range(0, 1, high_open=True)]
Pixel = Annotated[float, Range(0, 255)]
Side = Annotated[int, Range(4, 4096)]
BatchSize = Annotated[int, Range(2, 65536)]  # one image has no batch statistics
Seed = Annotated[int, Range(0, LARGEST_SEED)]
Border = Annotated[str, Choices("reflect", "constant")]
