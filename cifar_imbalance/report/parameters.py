"""How the parameters that trials drew are shown: the numbers of one parameter to as many digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DIGITS = 4  # significant ones


def shown_parameters(drawn: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """By parameter, what each trial drew; "-" where it did not draw it."""
    names = dict.fromkeys(name for parameters in drawn for name in parameters)
    return {name: _shown([parameters.get(name) for parameters in drawn]) for name in names}


def as_number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _shown(values: Sequence[str | None]) -> list[str]:
    numbers = [as_number(value) for value in values if value is not None]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or all(value is None or value.isdigit() for value in values):
        return ["-" if value is None else value for value in values]
    digits = max(max(_needed(number), len(f"{abs(number):.0f}")) for number in known)
    return ["-" if value is None else f"{float(value):#.{digits}g}".removesuffix(".") for value in values]


def _needed(number: float) -> int:
    """The significant digits, up to DIGITS, without zeros at the end."""
    return len(f"{number:.{DIGITS - 1}e}".partition("e")[0].lstrip("-").replace(".", "").rstrip("0")) or 1
