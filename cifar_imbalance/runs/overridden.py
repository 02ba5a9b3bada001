"""A run's own configuration as one is composed from it, and the overrides that may change it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from cifar_imbalance.configuration.hardware import XLA_NAMES, resolved_runtime
from cifar_imbalance.configuration.schema import block_defaults
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.folder import RunFolder


def as_composed(run: RunFolder) -> DictConfig:
    """A run's configuration without its types, as Hydra would have composed it.

    On a machine with fewer cores than the run had threads, they are chosen anew.
    """
    stored = OmegaConf.create(asdict(run.read_config()))
    if "open" in stored:
        stored.open = False  # as long as it is not typed
    if (stored.runtime.threads or 0) > (os.cpu_count() or 1):
        stored.runtime.threads = None
    return stored


def override(
    config: DictConfig,
    named: Mapping[str, Any],
    schema: type,
    may_differ: Callable[[str], bool],
    owner: str,
) -> None:
    """Override the run's `config` with the `named` values. Raises UsageError for one that may not differ."""
    for path, here in named.items():
        there = OmegaConf.select(config, path)
        if here == there:
            continue
        if not may_differ(path):
            raise UsageError(
                f"{owner}: {path} is {text_of(there)} in the run and {text_of(here)} here; the run keeps its own"
            )
        group, _, rest = path.partition(".")
        block = f"{group}.{rest.partition('.')[0]}"
        if "." in rest and OmegaConf.select(config, block) is None:  # a block of a choice that the run did not make
            OmegaConf.update(config, block, block_defaults(schema, block))
        OmegaConf.update(config, path, here)
    if "runtime.name" in named:
        _reset_runtime_fields(config, named)


def _reset_runtime_fields(config: DictConfig, named: Mapping[str, Any]) -> None:
    """Reset fields of the run's own runtime that another one does not have; the precision is kept."""
    on_xla = resolved_runtime(config.runtime.name) in XLA_NAMES
    for field, value in {"threads": None, "compile": False}.items() if on_xla else {"devices": None}.items():
        if f"runtime.{field}" not in named:
            config.runtime[field] = value


def text_of(value: object) -> str:
    return "null" if value is None else str(list(value) if isinstance(value, ListConfig) else value)
