"""Settings that are given to the library by name, as the configuration has and checks them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from cifar_imbalance.configuration.schema import as_dataclass, field_paths, rules
from cifar_imbalance.configuration.values import Choices
from cifar_imbalance.errors import UsageError, choose_from, nearest


def of_choice(
    schema: type, group: str, name: str, settings: Mapping[str, Any], *, without: Collection[str] = ()
) -> Any:
    """The group's settings with the choice `name`: `settings` are those of the choice's own block or the group's own.

    `without` are choices and settings of the group that have no meaning here.
    """
    choices = rules(schema)["name"]
    assert isinstance(choices, Choices)
    if not isinstance(name, str) or name not in choices or name in without:
        raise choose_from(group, name, [choice for choice in choices if choice not in without])
    paths = field_paths(schema)
    blocks = {path.partition(".")[0] for path in paths if "." in path}
    own = {path.partition(".")[2] for path in paths if path.startswith(f"{name}.")}
    shared = {path for path in paths if "." not in path} - blocks - {"name", *without}
    for key in settings:
        if key not in own | shared:
            allowed = ", ".join(sorted(own | shared)) or "none"
            raise UsageError(
                f"{key}{nearest(key, own | shared)}: is no setting of {group}={name}; allowed are {allowed}"
            )
    block = {name: {key: value for key, value in settings.items() if key in own}} if own else {}
    return checked(schema, {"name": name, **block, **{k: v for k, v in settings.items() if k in shared}})


def checked(schema: type, values: Mapping[str, Any]) -> Any:
    """An instance of the schema with these values, each in its range or among its choices."""
    try:
        composed = OmegaConf.create(_plain(values))
    except OmegaConfBaseException as error:
        raise UsageError(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    return as_dataclass(schema, composed)


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch as Python's, which alone OmegaConf knows."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray | Tensor) else value
