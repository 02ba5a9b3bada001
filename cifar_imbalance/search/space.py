"""What is searched, as Hydra writes several values: FIELD=interval(LOW,HIGH), FIELD=range(FROM,TO), FIELD=A,B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from cifar_imbalance.configuration.differences import CHANGE_RESULTS, is_execution_field
from cifar_imbalance.configuration.fields import Searching, TrainConfig
from cifar_imbalance.configuration.overrides import check_override, parse
from cifar_imbalance.configuration.schema import field_paths, number_type
from cifar_imbalance.errors import UsageError

HOW = "FIELD=interval(LOW,HIGH), FIELD=tag(log,interval(LOW,HIGH)), FIELD=range(FROM,TO,STEP) or FIELD=A,B"
MOST_VALUES = 1000
RUNS = ("resume", "repeat", "start", "teacher")


@dataclass(frozen=True)
class Choice:
    """One of these values, as they are typed."""

    typed: str
    key: str
    values: tuple[str, ...]

    @property
    def ends(self) -> tuple[str, str]:
        return self.values[0], self.values[-1]

    def suggest(self, trial: Any) -> str:
        return str(trial.suggest_categorical(self.key, list(self.values)))


@dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`, both included."""

    typed: str
    key: str
    low: float
    high: float
    whole: bool
    log: bool = False
    step: float | None = None

    @property
    def ends(self) -> tuple[str, str]:
        return self._text(self.low), self._text(self.high)

    def suggest(self, trial: Any) -> str:
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return self._text(trial.suggest_int(self.key, int(self.low), int(self.high), step=step, log=self.log))
        return self._text(trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log))

    def _text(self, value: float) -> str:
        return str(int(value)) if self.whole else repr(float(value))


Parameter = Choice | Interval


def read_space(texts: Sequence[str], groups: Mapping[str, list[str]]) -> list[Parameter]:
    """The parameters of a search. Raises UsageError for one that cannot be searched, and if there are none."""
    if not texts:
        raise UsageError(f"search: nothing is searched; add {HOW}")
    parameters: list[Parameter] = []
    for override in parse(texts):
        key, text = override.key_or_group, str(override.input_line)
        if any(key == one.key for one in parameters):
            raise UsageError(f"{text}: {key} is searched twice")
        if key == "hydra" or key.startswith(("hydra.", "hydra/")) or key in field_paths(Searching):
            raise UsageError(f"{text}: one value is expected; searched are fields of train.py, {HOW}")
        check_override(override, dict(groups), TrainConfig)
        if key == "seed":
            raise UsageError(f"{text}: the seed is that of all trials, or chance would be chosen; write seed=NUMBER")
        if key in RUNS or (is_execution_field(key) and key not in CHANGE_RESULTS):
            raise UsageError(f"{text}: it changes no result that a search could compare; write one value")
        parameters.append(_parameter(override))
    return parameters


def _parameter(override: Override) -> Parameter:
    key, text, value = override.key_or_group, str(override.input_line), override.value()
    tags: set[str] = getattr(value, "tags", set())
    if getattr(value, "shuffle", False):
        raise UsageError(f"{text}: trials have no order; leave out shuffle")
    if tags - {"log"} or ("log" in tags and not isinstance(value, IntervalSweep)):
        raise UsageError(f"{text}: the only tag is log, of an interval: {key}=tag(log,interval(LOW,HIGH))")
    kind = number_type(TrainConfig, key) if key in field_paths(TrainConfig) else None
    if isinstance(value, IntervalSweep | RangeSweep) and kind is None:
        raise UsageError(f"{text}: {key} is not a number; its values are listed, {key}=A,B")
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        whole = kind is int or (isinstance(value.start, int) and isinstance(value.end, int))
        found = Interval(text, key, value.start, value.end, whole, log="log" in tags)
    else:
        values = tuple(islice(override.sweep_string_iterator(), MOST_VALUES + 1))
        if len(values) > MOST_VALUES:
            raise UsageError(f"{text}: at most {MOST_VALUES} values; {key}=interval(LOW,HIGH) has no steps")
        if not isinstance(value, RangeSweep):
            return Choice(text, key, tuple(dict.fromkeys(values)))
        if not values:
            raise UsageError(f"{text}: there are no values in it")
        numbers = sorted(map(float, values))
        step = None if len(numbers) == 1 else numbers[1] - numbers[0]
        found = Interval(text, key, numbers[0], numbers[-1], kind is int or _whole(*numbers), step=step)
    if found.whole and not _whole(found.low, found.high):
        raise UsageError(f"{text}: whole numbers are expected")
    if not found.low <= found.high:
        raise UsageError(f"{text}: the lower end comes first, {key}=interval(LOW,HIGH)")
    if found.log and not found.low > 0:
        raise UsageError(f"{text}: on a logarithmic scale the lower end is more than 0")
    return found


def _whole(*values: float) -> bool:
    return all(float(value).is_integer() for value in values)
