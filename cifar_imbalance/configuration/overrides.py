"""Command-line overrides: parsed by Hydra's grammar, checked before anything is composed, and the fields they name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import yaml
from hydra.core.override_parser.types import Override, ValueType
from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.configuration.fields import OPERATORS, TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.schema import field_paths, unknown_field
from cifar_imbalance.configuration.typed import as_typed, parsed_override
from cifar_imbalance.errors import UsageError, choose_from, nearest

QUICKSTART_KEEPS = ("seed", "open", "runtime", "training", "plots")  # what may be overridden in the quickstart
HYDRAS_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
HYDRAS_PLUGINS = ("launcher", "sweeper")
LAUNCHERS_OPTION = re.compile(r"hydra\.launcher\.(ray\.init|ray\.remote|additional_parameters)\.")
HYDRAS_VALUE = re.compile(r"\$\{\s*hydra:")


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra parses them. Raises UsageError for one that is not FIELD=VALUE."""
    parsed = []
    for text in overrides:
        override = parsed_override(text)
        if override is None:
            raise UsageError(f"{text}: cannot be read as FIELD=VALUE or GROUP=CHOICE; {_hint(text)}")
        parsed.append(override)
    return parsed


def _hint(text: str) -> str:
    field, equals, value = text.partition("=")
    return f"quote the value: {as_typed(field, value)}" if field and equals and value else "see --help"


def keys(overrides: Sequence[str]) -> list[str]:
    """The fields and groups that the overrides set; of a block given as {FIELD:VALUE} each field in it."""
    return [key for override in parse(overrides) for key in _keys(override)]


def _keys(override: Override) -> list[str]:
    key, value = override.key_or_group, override.value()
    return list(_leaves(value, f"{key}.")) if isinstance(value, dict) and value else [key]


def check_override(override: Override, groups: dict[str, list[str]], schema: type) -> None:
    """Raises UsageError for an unknown group, choice or field, and for adding or deleting one."""
    key, text = override.key_or_group, str(override.input_line)
    if not key:
        raise UsageError(f"{text}: cannot be read as FIELD=VALUE or GROUP=CHOICE; see --help")
    if key.startswith("hydra"):
        _check_hydras_own(override)
        return
    if HYDRAS_VALUE.search(text):  # some depend on what is typed, so that they would never be resolved
        raise UsageError(f"{text}: Hydra's own values, ${{hydra:...}}, can be used in its own fields alone")
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        raise UsageError(f"{text}: values are listed, {key}=VALUE,VALUE")
    if override.is_delete():
        hint = f"choose another with {key}=NAME: {', '.join(groups[key])}" if key in groups else "set its value instead"
        raise UsageError(f"{text}: groups and fields cannot be deleted; {hint}")
    known = field_paths(schema)
    if override.is_add() or override.is_force_add():
        key_known = key in known or key in groups
        hint = f"write {text.lstrip('+')}" if key_known else f"no field or group is called {key}{nearest(key, known)}"
        raise UsageError(f"{text}: fields cannot be added; {hint}")
    if key in groups:
        for choice in _choices(override):
            if choice not in groups[key]:
                raise choose_from(key, choice, groups[key])
    elif key not in known:
        near = nearest(key, groups)
        if "." not in key and near:
            raise UsageError(f"{key}: there is no such group or field{near}; groups are {', '.join(sorted(groups))}")
        raise unknown_field(key, schema)


def _check_hydras_own(override: Override) -> None:
    """Of Hydra's own fields, folders can be set and plugins chosen. Raises UsageError for anything else."""
    key, text = override.key_or_group, str(override.input_line)
    is_option = LAUNCHERS_OPTION.match(key) is not None  # of Ray and sbatch, whose names the plugins do not list
    added = override.is_force_add() or (override.is_add() and not is_option)
    if override.is_delete() or added or override.is_sweep_override():
        raise UsageError(f"{text}: one value is expected, FIELD=VALUE")
    value = override.value()
    if key in HYDRAS_FOLDERS:
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            raise UsageError(f"{text}: a folder is expected")
        return
    plugin, _, field = key.removeprefix("hydra.").partition(".")
    if key.removeprefix("hydra/") in HYDRAS_PLUGINS:
        if not isinstance(value, str):
            raise UsageError(f"{text}: the name of a plugin is expected")
    elif key == "hydra.sweeper.params":
        raise UsageError(f"{text}: a sweep is written FIELD=VALUE,VALUE")
    elif plugin not in HYDRAS_PLUGINS or not field or field.startswith("_") or field == "params":
        allowed = ", ".join([*HYDRAS_FOLDERS, *(f"hydra/{name} and its fields" for name in HYDRAS_PLUGINS)])
        raise UsageError(f"{text}: of Hydra's own fields, allowed are {allowed}")


def check_plugin_fields(overrides: Sequence[Override]) -> None:
    """Raises UsageError for a field of a plugin if none was chosen: Hydra's own launcher and sweeper need none."""
    chosen = [override.key_or_group for override in overrides]
    for override in overrides:
        for plugin in HYDRAS_PLUGINS:
            if override.key_or_group.startswith(f"hydra.{plugin}.") and f"hydra/{plugin}" not in chosen:
                raise UsageError(f"{override.input_line}: only with hydra/{plugin}=NAME, a plugin that is installed")


def _choices(override: Override) -> list[str]:
    """The group choices of `model=b0`, `augmentation=[flip,cutout]` or `augmentation=none,[flip,cutout]`."""
    if override.is_sweep_override():
        if not override.is_choice_sweep():
            raise UsageError(f"{override.input_line}: choices are listed, {override.key_or_group}=NAME,NAME")
        values = [parse([f"x={value}"])[0].value() for value in override.sweep_string_iterator()]
    else:
        values = [override.value()]
    if override.key_or_group != "augmentation" and any(isinstance(value, list) for value in values):
        raise UsageError(f"{override.input_line}: one choice is expected; only augmentation takes a list")
    choices = [choice for value in values for choice in (value if isinstance(value, list) else [value])]
    return ["null" if choice is None else str(choice) for choice in choices]


def check_operators(compose: Callable[[Sequence[str]], DictConfig], job: Sequence[str]) -> None:
    """Reject a field of an augmentation operator that is not enabled, where Hydra would fail with an assertion."""

    def operator(override: Override) -> str | None:
        group, *rest = override.key_or_group.split(".")
        inside = len(rest) == 2 or (len(rest) == 1 and isinstance(override.value(), dict))
        return rest[0] if group == "augmentation" and inside and rest[0] in OPERATORS else None

    parsed = parse(job)
    inside = [override for override in parsed if operator(override)]
    if not inside:
        return
    composed = compose([str(o.input_line) for o in parsed if not operator(o)])
    for override in inside:
        switch = operator(override)
        if composed.augmentation[switch] is not None:
            continue
        for origin in ("resume", "repeat", "start"):
            if composed.get(origin) is not None:
                raise UsageError(
                    f"{override.input_line}: with {origin}={composed[origin]} list its operators as well, "
                    f"augmentation=[...,{switch}]"
                )
        other = "cutout" if switch == "flip" else "flip"
        raise UsageError(
            f"{override.input_line}: {switch} is not enabled; "
            f"enable it with augmentation={switch}, or in a list: augmentation=[{other},{switch}]"
        )


def default_experiment(overrides: Sequence[str]) -> list[str]:
    """The override that chooses the experiment if none is given: the quickstart, if only QUICKSTART_KEEPS are set.

    With any other override it is an experiment of the user's own, which inherits nothing from the quickstart.
    """
    typed = [key.lstrip("+~") for key in keys(overrides)]
    beyond = [key for key in typed if key.split(".")[0] not in QUICKSTART_KEEPS and not key.startswith("hydra")]
    return [] if beyond else ["experiment=quickstart"]


def named_values(overrides: Sequence[str], composed: DictConfig, schema: type) -> dict[str, Any]:
    """The fields that the overrides set, by dotted path, with their values in the configuration composed from them.

    A group's choice sets only what its YAML sets; an augmentation is set as a whole, since a choice there also disables
    the operators that it leaves out.
    """
    known = field_paths(schema)
    named: dict[str, Any] = {}
    for override in parse(overrides):
        key = override.key_or_group
        choice = CONF / key / f"{override.value()}.yaml"
        if key != "augmentation" and not isinstance(override.value(), list) and choice.is_file():
            content = OmegaConf.load(choice)
            named |= {key: override.value()} if key == "experiment" else _leaves(content, f"{key}.")
            continue
        set_here = _keys(override)
        paths = [path for path in known if any(path == one or path.startswith(f"{one}.") for one in set_here)]
        values = {path: OmegaConf.select(composed, path) for path in sorted(paths)}
        named |= {path: value for path, value in values.items() if not isinstance(value, DictConfig)}
    return named


def experiment_values(name: str, composed: DictConfig) -> dict[str, Any]:
    """The fields that a second stage sets, by dotted path, with their values in the configuration composed from it."""
    paths = (_set_by_experiment(name) - {"start"}) & field_paths(TrainConfig)
    return {path: OmegaConf.select(composed, path) for path in sorted(paths)}


def is_second_stage(experiment: str) -> bool:
    """Whether an experiment sets `start`, which it does to say that it needs a value."""
    return "start" in _set_by_experiment(experiment)


def is_distilled(experiment: str) -> bool:
    """Whether an experiment sets `teacher`, likewise."""
    return "teacher" in _set_by_experiment(experiment)


@cache
def _set_by_experiment(name: str) -> frozenset[str]:
    """The fields that an experiment's YAML sets, itself or by the choices and experiments in its defaults."""
    file = CONF / "experiment" / f"{name}.yaml"
    if not file.is_file():
        return frozenset()
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}  # one may have comments alone
    paths: set[str] = set()
    for entry in content.pop("defaults", []):
        if isinstance(entry, str):
            paths |= _set_by_experiment(entry)  # of _self_ there is none
            continue
        ((group, choice),) = entry.items()
        group = group.removeprefix("override /")
        if group == "augmentation":  # a choice also disables the operators that it leaves out
            paths |= {path for path in field_paths(TrainConfig) if path.startswith("augmentation.")}
        else:
            paths |= set(_leaves(OmegaConf.load(CONF / group / f"{choice}.yaml"), f"{group}."))
    return frozenset(paths | set(_leaves(content, "")))


def _leaves(content: Any, prefix: str) -> dict[str, Any]:
    """The values of nested mappings by dotted path."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        nested = isinstance(value, DictConfig | dict) and value
        found |= _leaves(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found
