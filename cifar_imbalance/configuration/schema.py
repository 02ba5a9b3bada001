"""A schema (a dataclass of fields.py) and configurations composed for it: fields, rules, one-line type errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException, ValidationError

from cifar_imbalance.configuration.values import Choices, Rule
from cifar_imbalance.errors import UsageError, nearest

_TYPE_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    list[int]: "a list of whole numbers such as [1,2]",
    list[float]: "a list of numbers such as [0.9,1.1]",
    list[str]: "a list of names",
    list[list[str]]: "a list of lists of names such as [[flip],[flip,cutout]]",
}


def as_dataclass(schema: type, composed: DictConfig) -> Any:
    """What Hydra composed, as an instance of its schema, with every value in its range or among its choices.

    Raises UsageError, for a wrong value before one that is missing.
    """
    try:
        merged = OmegaConf.merge(_defaults(schema), OmegaConf.to_container(composed, resolve=True))
        for path, rule in rules(schema).items():
            value = OmegaConf.select(merged, path)
            for one in value if isinstance(value, ListConfig) else [value]:
                if one is not None:
                    rule.check(path, one)
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise UsageError(f"{missing[0]}: a value is missing; {_how_to_set(missing[0])}")
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise explain(error, schema) from error


@cache
def _defaults(schema: type) -> DictConfig:
    return OmegaConf.structured(schema)


def _how_to_set(path: str) -> str:
    group = path.split(".")[0]
    hint = f"write {path}=VALUE or choose {group}=NAME"
    return f"{hint} (experiment=quickstart has one)" if path == "dataset.name" else hint


# ---------------------------------------------------------------- fields and rules
@cache
def field_paths(schema: type) -> frozenset[str]:
    """Every field of a schema, dotted, those inside optional blocks too: {'seed', 'dataset.root', ...}."""
    return frozenset(path for path, _ in _annotations(schema))


@cache
def rules(schema: type) -> Mapping[str, Rule]:
    """The range or the choices of each field that has them; for a list, those of each of its elements."""
    found: dict[str, Rule] = {}
    for path, annotation in _annotations(schema):
        for part in _parts(annotation):
            for rule in getattr(part, "__metadata__", ()):
                found[path] = rule
    return found


@cache
def choice_blocks(schema: type) -> Mapping[str, tuple[str, ...]]:
    """The choices of each group that have their own block of settings: {'optimizer': ('adam', 'sgd'), ...}."""
    chosen: dict[str, tuple[str, ...]] = {}
    allowed = rules(schema)
    for path, annotation in _annotations(schema):
        group, _, name = path.rpartition(".")
        choices = allowed.get(f"{group}.name", ())
        if isinstance(choices, Choices) and name in choices and _block(annotation):
            chosen[group] = (*chosen.get(group, ()), name)
    return chosen


def number_type(schema: type, path: str) -> type | None:
    """int or float, if the field at the dotted `path` is such a number; None for any other field."""
    annotation = next(annotation for name, annotation in _annotations(schema) if name == path)
    if get_origin(annotation) is list:
        return None
    kinds = [getattr(part, "__origin__", part) for part in _parts(annotation)]
    return next((kind for kind in (int, float) if kind in kinds), None)


def block_defaults(schema: type, path: str) -> dict[str, Any]:
    """The fields of the block at the dotted `path` with their defaults."""
    block = next(block for name, annotation in _annotations(schema) if name == path and (block := _block(annotation)))
    return asdict(block())


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted path and value of every field of a schema's instance that is not itself a block of fields."""
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, value


def _annotations(schema: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, annotation in get_type_hints(schema, include_extras=True).items():
        yield prefix + name, annotation
        if block := _block(annotation):
            yield from _annotations(block, f"{prefix}{name}.")


def _block(annotation: Any) -> type | None:
    """The dataclass of a block of fields, which may be optional; None for a plain field."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)), None)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    if get_origin(annotation) in (list, Union, UnionType):
        for inner in get_args(annotation):
            yield from _parts(inner)


# ---------------------------------------------------------------- one-line errors
def unknown_field(path: str, schema: type, asked: str | None = None) -> UsageError:
    """The error for a field that the schema does not have, with the nearest one that it has.

    `asked` is what was typed, if that is not the field itself.
    """
    if path.startswith("hydra"):
        return UsageError(f"{path}: Hydra has no such field; --cfg hydra shows those it has")
    known = sorted(field_paths(schema))
    near = nearest(path, known) or nearest(path, [name for name in known if name.endswith("." + path)])
    if not near:  # a field without its group, such as batch_size
        matches = [name for name in known if name.rsplit(".", 1)[-1] == path.rsplit(".", 1)[-1]]
        near = f" (did you mean {matches[0]}?)" if matches else ""
    parent = path.rsplit(".", 1)[0] + "." if "." in path else ""
    siblings = [name for name in known if name.startswith(parent) and "." not in name[len(parent) :]]
    allowed = siblings or [name for name in known if "." not in name]
    return UsageError(f"{asked or path}: there is no such field{near}; allowed are {', '.join(allowed)}")


def explain(error: OmegaConfBaseException, schema: type) -> UsageError:
    """OmegaConf's error as one line: an unknown key, a wrong type, a missing value."""
    path = str(error.full_key or "")
    if "is not a ListConfig" in str(error) and path not in field_paths(schema):
        path = "ensemble.augmentations"  # the list of lists, whose name OmegaConf does not report
    if isinstance(error, ConfigKeyError | AttributeError):
        return unknown_field(path, schema)
    if isinstance(error, MissingMandatoryValue):
        return UsageError(f"{path}: a value is missing; write {path}=VALUE")
    if isinstance(error, ValidationError) and path and not path.startswith("hydra"):
        return UsageError(f"{path}{_rejected_value(error)}: {_expected(path, schema)} is expected")
    first_line = str(error).splitlines()[0]
    return UsageError(f"{path}: {first_line}" if path else first_line)


def _rejected_value(error: ValidationError) -> str:
    """'=VALUE' if OmegaConf's message contains the value."""
    first_line = str(error).splitlines()[0]
    if "is not Optional" in first_line:
        return "=null"
    match = re.search(r"Value '(.*?)'(?: of type| is not|\s\()|(?:value: |string: ')(.*?)'?$", first_line)
    return f"={match[1] or match[2] or ''}" if match else ""


def _expected(path: str, schema: type) -> str:
    """The type of a field in words."""
    annotation: Any = schema
    for name in path.partition("[")[0].split("."):
        block = _block(annotation)
        assert block is not None  # OmegaConf names fields that the schema has
        annotation = get_type_hints(block)[name]
    options = [kind for kind in get_args(annotation) if kind is not type(None)]
    kind, or_null = annotation, ""
    if get_origin(annotation) in (Union, UnionType):
        kind, or_null = options[0], " or null"
    if "[" in path:  # an element of a list
        kind = options[0]
    if is_dataclass(kind):
        return f"a block of fields, {path}.FIELD=VALUE,"
    return _TYPE_WORDS[kind] + or_null
