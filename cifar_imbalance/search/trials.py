"""From the values that a trial draws to its configuration, which is one of train.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.configuration.checks import checked_train
from cifar_imbalance.configuration.fields import OPERATORS, Searching, TrainConfig
from cifar_imbalance.configuration.overrides import check_operators, keys
from cifar_imbalance.configuration.schema import choice_blocks, field_paths
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.rerun import composed_for_training
from cifar_imbalance.search.space import Choice, Interval, Parameter

MOST_CHECKED = 200  # combinations of choices; of more, one choice after the other is changed


class Trials:
    """The runs of a search: what they share, and what each draws.

    Settings of one choice, such as loss.focal.gamma, belong to the trials that make it.
    """

    def __init__(
        self,
        space: Sequence[Parameter],
        overrides: Sequence[str],
        compose: Callable[[Sequence[str]], DictConfig],
        config_dir: Path | None = None,
    ) -> None:
        self.config_dir = config_dir
        self.space = list(space)
        self.typed = [parameter.typed for parameter in space]
        self.logarithmic = [parameter.key for parameter in space if isinstance(parameter, Interval) and parameter.log]
        self._compose = compose
        own = field_paths(Searching)
        self.shared = [text for text in overrides if keys([text])[0] not in own and not text.startswith("hydra")]
        searched = {parameter.key for parameter in space}
        for text in self.shared:
            if (key := text.partition("=")[0]) in searched:
                raise UsageError(f"{text}: {key} is searched as well; leave one of them out")
        self._conditional = [text for text in self.shared if _block(keys([text])[0])]

    def draw(self, trial: Any) -> dict[str, str]:
        """The values that an Optuna trial suggests, by field or group, as they are typed."""
        values = {parameter.key: parameter.suggest(trial) for parameter in self.space if not _block(parameter.key)}
        return values | {parameter.key: parameter.suggest(trial) for parameter in self._inside(values)}

    def overrides(self, values: Mapping[str, str]) -> list[str]:
        """What would be typed for this trial."""
        searched = [text for text in self._conditional if self._is_searched(keys([text])[0])]
        composed = self._outer({key: value for key, value in values.items() if not _block(key)}) if searched else None
        dropped = [text for text in searched if composed is not None and not _made(composed, keys([text])[0])]
        return [*(text for text in self.shared if text not in dropped), *(f"{k}={v}" for k, v in values.items())]

    def config(self, values: Mapping[str, str]) -> TrainConfig:
        """The checked configuration of this trial. Raises UsageError."""
        overrides = self.overrides(values)
        check_operators(self._compose, overrides)
        return checked_train(composed_for_training(self._plain(overrides), overrides), keys(overrides))

    def check(self, objectives: Sequence[str]) -> None:
        """Raises UsageError for values that a run refuses, and for trials that are not judged on the same images."""
        dataset = None
        for values in self._corners():
            try:
                config = self.config(values)
            except UsageError as error:
                raise UsageError(f"{error} (in a trial of {_words(values)})") from error
            if config.dataset.validation != "holdout":
                raise UsageError(
                    f"objectives=[{','.join(objectives)}]: they are of validation images, which needs "
                    f"dataset.validation=holdout, not {config.dataset.validation}"
                )
            images = (config.dataset, config.seed)
            if dataset is not None and images != dataset:
                raise UsageError(f"{_words(values)}: trials are compared on the same images; dataset has one value")
            dataset = images

    def first(self) -> TrainConfig:
        """The configuration of the first value of everything."""
        return self.config(next(self._corners()))

    def _corners(self) -> Iterator[dict[str, str]]:
        """Every combination of choices, with the numbers at either end."""
        outer = [parameter for parameter in self.space if not _block(parameter.key)]
        choices = [parameter for parameter in outer if isinstance(parameter, Choice)]
        usual = tuple(choice.values[0] for choice in choices)
        made: list[tuple[str, ...]] = list(
            itertools.islice(itertools.product(*(choice.values for choice in choices)), MOST_CHECKED + 1)
        )
        if len(made) > MOST_CHECKED:
            changes = [(k, value) for k, choice in enumerate(choices) for value in choice.values]
            made = [usual, *((*usual[:k], value, *usual[k + 1 :]) for k, value in changes)]
        for values in made:
            chosen = dict(zip((choice.key for choice in choices), values, strict=True))
            for end in (0, 1):
                corner = {p.key: chosen.get(p.key, p.ends[end]) for p in outer}
                inside = self._inside(corner)
                corner |= {parameter.key: parameter.ends[end] for parameter in inside}
                yield corner
                for parameter in inside:
                    for value in parameter.values[1:-1] if isinstance(parameter, Choice) else ():
                        yield corner | {parameter.key: value}

    def _inside(self, values: Mapping[str, str]) -> list[Parameter]:
        """The parameters in blocks of choices that this trial makes; in one that no trial chooses, all."""
        inside = [parameter for parameter in self.space if _block(parameter.key)]
        if not inside:
            return []
        composed = self._outer(values)
        return [one for one in inside if not self._is_searched(one.key) or _made(composed, one.key)]

    def _is_searched(self, key: str) -> bool:
        """Whether trials differ in whether the block that `key` is in is chosen."""
        group = key.partition(".")[0]
        return any(parameter.key in (group, f"{group}.name", "experiment") for parameter in self.space)

    def _outer(self, values: Mapping[str, str]) -> DictConfig:
        """What is composed without settings of one choice."""
        shared = [text for text in self.shared if text not in self._conditional]
        return self._plain([*shared, *(f"{key}={value}" for key, value in values.items())])

    def _plain(self, overrides: Sequence[str]) -> DictConfig:
        composed = self._compose(overrides)
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(composed)  # the experiment's name is one of Hydra's values
        try:
            plain = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
            OmegaConf.resolve(plain)
        finally:
            HydraConfig.instance().cfg = before
        return plain


def _block(key: str) -> str | None:
    """The block of one choice that a field is in: `loss.focal` of loss.focal.gamma, `augmentation.cutout`."""
    group, _, rest = key.partition(".")
    name, _, inside = rest.partition(".")
    names = OPERATORS if group == "augmentation" else choice_blocks(TrainConfig).get(group, ())
    return f"{group}.{name}" if inside and name in names else None


def _made(composed: DictConfig, key: str) -> bool:
    """Whether the choice is made that the field `key` is a setting of."""
    block = _block(key)
    assert block is not None
    group, name = block.split(".")
    if group == "augmentation":
        return composed[group][name] is not None
    return bool(composed[group].name == name)


def _words(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())
