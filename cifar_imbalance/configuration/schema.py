"""A schema (a dataclass of config.py) and what is composed for it: its fields, and one line for what does not fit."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException, ValidationError

from cifar_imbalance.errors import UsageError, nearest

_TYPE_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list[int]: "a list of whole numbers such as [1,2]",
    list[float]: "a list of numbers such as [0.9,1.1]",
    list[str]: "a list of names",
    list[list[str]]: "a list of lists of names such as [[flip],[flip,cutout]]",
}


def as_dataclass(schema: type, composed: DictConfig) -> Any:
    """What Hydra composed, as an instance of its schema. Raises UsageError."""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.to_container(composed, resolve=True))
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            group = missing[0].split(".")[0]
            raise UsageError(f"{missing[0]}: a value is missing; write {missing[0]}=VALUE or choose {group}=NAME")
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise explain(error, schema) from error


def field_paths(schema: type) -> set[str]:
    """Every field of a schema, dotted, those inside optional blocks too: {'seed', 'dataset.root', ...}."""
    paths = set()
    for name, annotation in get_type_hints(schema).items():
        paths.add(name)
        for inner in (annotation, *get_args(annotation)):
            if is_dataclass(inner):
                paths |= {f"{name}.{path}" for path in field_paths(inner)}  # type: ignore[arg-type]
    return paths


def unknown_field(path: str, schema: type) -> UsageError:
    """One line for a field that no schema has, with the nearest that it has."""
    if path.startswith("hydra"):
        return UsageError(f"{path}: Hydra has no such field; --cfg hydra shows those it has")
    known = sorted(field_paths(schema))
    near = nearest(path, known) or nearest(path, [name for name in known if name.endswith("." + path)])
    if not near:  # a field typed without its group, such as batch_size
        matches = [name for name in known if name.rsplit(".", 1)[-1] == path.rsplit(".", 1)[-1]]
        near = f" (did you mean {matches[0]}?)" if matches else ""
    parent = path.rsplit(".", 1)[0] + "." if "." in path else ""
    siblings = [name for name in known if name.startswith(parent) and "." not in name[len(parent) :]]
    allowed = siblings or [name for name in known if "." not in name]
    return UsageError(f"{path}: there is no such field{near}; allowed are {', '.join(allowed)}")


def explain(error: OmegaConfBaseException, schema: type) -> UsageError:
    """One line for what OmegaConf refuses: an unknown key, a wrong type, a value that is missing."""
    path = str(error.full_key or "")
    if not path and "is not a ListConfig" in str(error):
        path = "ensemble.augmentations"  # a list within a list, of which OmegaConf forgets the name
    if isinstance(error, ConfigKeyError | AttributeError):
        return unknown_field(path, schema)
    if isinstance(error, MissingMandatoryValue):
        return UsageError(f"{path}: a value is missing; write {path}=VALUE")
    if isinstance(error, ValidationError) and path:
        return UsageError(f"{path}{_refused_value(error)}: {_wanted(path, schema)} is wanted")
    first_line = str(error).splitlines()[0]
    return UsageError(f"{path}: {first_line}" if path else first_line)


def _refused_value(error: ValidationError) -> str:
    """'=VALUE' where OmegaConf's message tells the value."""
    first_line = str(error).splitlines()[0]
    if "is not Optional" in first_line:
        return "=null"
    told = re.search(r"Value '(.*?)'(?: of type| is not|\s\()|value: (.*)$", first_line)
    return f"={told[1] or told[2] or ''}" if told else ""


def _wanted(path: str, schema: type) -> str:
    """The type of a field in words."""
    annotation: Any = schema
    for name in path.partition("[")[0].split("."):
        block = next(kind for kind in (annotation, *get_args(annotation)) if is_dataclass(kind))
        annotation = get_type_hints(block)[name]
    options = [kind for kind in get_args(annotation) if kind is not type(None)]
    kind, or_null = annotation, ""
    if isinstance(annotation, UnionType):
        kind, or_null = options[0], " or null"
    if "[" in path:  # an element of a list
        kind = options[0]
    if is_dataclass(kind):
        return f"a block of fields, {path}.FIELD=VALUE,"
    return _TYPE_WORDS[kind] + or_null
