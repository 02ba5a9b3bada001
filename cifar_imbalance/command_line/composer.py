"""Composing configurations with Hydra: many jobs that differ little, and whatever Hydra raises as one line."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.overrides import parse
from cifar_imbalance.configuration.schema import field_paths
from cifar_imbalance.errors import TrainingFailed, UsageError


@contextmanager
def hydras_errors(what: str) -> Iterator[None]:
    """Whatever Hydra raises for an input that it does not check, as one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, UsageError, TrainingFailed, OSError):
        raise  # they have lines of their own
    except Exception as error:
        raise UsageError(f"{what}: Hydra cannot use this ({type(error).__name__}: {error}); see --help") from error


class Composer:
    """What Hydra composes from overrides. Jobs that differ in single values alone share a composition.

    They share it as an object, too: a call sets its values in it, so that what was returned before has changed.
    """

    def __init__(self, name: str, schema: type, searchpath: list[str]) -> None:
        self._name = name
        self._fields = field_paths(schema)
        self._searchpath = searchpath
        self._found: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}  # and an unchanged copy
        self._changed: set[str] = set()

    def __call__(self, overrides: Sequence[str], number: int = 0) -> DictConfig:
        """The composed configuration of the job `number`, with Hydra's own part. Raises what Hydra raises."""
        values = self._values(parse(overrides))
        texts = {str(override.input_line) for override in values}
        composed, own = self._composed(tuple(text for text in overrides if text not in texts))
        for name in self._changed - {override.key_or_group for override in values}:
            OmegaConf.update(composed, name, OmegaConf.select(own, name))
        for override in values:
            OmegaConf.update(composed, override.key_or_group, override.value())
            self._changed.add(override.key_or_group)
        OmegaConf.set_readonly(composed.hydra, False)
        composed.hydra.job.num = number
        composed.hydra.overrides.task = [text for text in overrides if not text.lstrip("+").startswith("hydra")]
        OmegaConf.set_readonly(composed.hydra, True)
        return composed

    def _values(self, overrides: Sequence[Override]) -> list[Override]:
        """Those that set a single value, which no null, list or block of another override can replace."""
        single = [override for override in overrides if self._is_value(override)]
        others = [o.key_or_group for o in overrides if o not in single and not (CONF / o.key_or_group).is_dir()]
        return [o for o in single if not any(f"{o.key_or_group}.".startswith(f"{other}.") for other in others)]

    def _is_value(self, override: Override) -> bool:
        value = override.value() if override.key_or_group in self._fields else None
        return isinstance(value, str | bool | int | float) and not (CONF / override.key_or_group).is_dir()

    def anew(self, overrides: Sequence[str]) -> DictConfig:
        """What Hydra composes from these overrides, as an object of its own."""
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(self._name, [*overrides, *self._searchpath], return_hydra_config=True)

    def _composed(self, overrides: tuple[str, ...]) -> tuple[DictConfig, DictConfig]:
        if overrides not in self._found:
            composed = self.anew(overrides)
            self._found[overrides] = composed, copy.deepcopy(composed)
        return self._found[overrides]
