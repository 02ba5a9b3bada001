"""Weights from a file: a state dict, however it is nested, checked against the network."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.heads import head_prefixes

log = logging.getLogger(__name__)

NESTINGS = (
    "state_dict",
    "average",
    "ema",
    "model",
    "model_state",
)  # keys under which training scripts save the tensors
WRAPPINGS = ("_orig_mod.", "module.", "model.")  # torch.compile, DataParallel and AveragedModel, Lightning
NAMES_SHOWN = 3


def load_weights(
    module: nn.Module, file: Path, *, name: str, field: str = "model.weights", fresh_head: bool = False
) -> bool:
    """Load a state dict in `file` into `module`; the head keeps its own weights if the file's has other classes,
    and always with `fresh_head`.

    Returns whether the head is new. Everything else must fit. Raises UsageError, which names `field`, if the file
    cannot be read or does not fit.
    """
    own = module.state_dict()
    given = {_unwrapped(key, own): tensor for key, tensor in _read(file, field).items()}
    given.pop("n_averaged", None)  # AveragedModel's counter

    head = {key for key in own if key.startswith(head_prefixes(module))}
    in_file = head & given.keys()
    other_classes = any(
        given[key].shape != own[key].shape and given[key].shape[1:] == own[key].shape[1:] for key in in_file
    )
    new_head = fresh_head or other_classes or (bool(head) and not in_file)
    if new_head:
        given = {key: tensor for key, tensor in given.items() if not key.startswith(head_prefixes(module))}
    else:
        _fold_factors(given, own, head_prefixes(module))

    # Counters that only batch norms without momentum use, which converted files often lack, and a head's class factors.
    optional = {key for key in own if key.endswith("num_batches_tracked")} | (
        head & {f"{prefix}factor" for prefix in head_prefixes(module)}
    )
    required = {key for key in own if not (new_head and key in head)} - optional
    missing = sorted(required - given.keys())
    unexpected = sorted(given.keys() - own.keys())
    misshapen = sorted(key for key in given.keys() & own.keys() if given[key].shape != own[key].shape)
    if missing or unexpected or misshapen:
        fitting = len(given.keys() & own.keys()) - len(misshapen)
        problems = [
            f"{len(keys_)} {word} ({', '.join(keys_[:NAMES_SHOWN])}{', ...' if len(keys_) > NAMES_SHOWN else ''})"
            for word, keys_ in (("missing", missing), ("unknown", unexpected), ("of another shape", misshapen))
            if keys_
        ]
        raise UsageError(f"{field}={file}: {fitting} of {len(own)} tensors fit {name}; {', '.join(problems)}")
    module.load_state_dict(own | given)
    log.info("%d of %d tensors from %s%s", len(given), len(own), file, "; the head is new" if new_head else "")
    return new_head


def _fold_factors(given: dict[str, Tensor], own: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> None:
    """Multiply the class factors of a head into its weight and bias where the network's own head has none."""
    for prefix in prefixes:
        if f"{prefix}factor" in given and f"{prefix}factor" not in own:
            factor = given.pop(f"{prefix}factor")
            for name in ("weight", "bias"):
                if (value := given.get(f"{prefix}{name}")) is not None and len(value) == len(factor):
                    given[f"{prefix}{name}"] = value * factor.reshape(-1, *(1,) * (value.ndim - 1))


def _unwrapped(key: str, own: Mapping[str, Tensor]) -> str:
    """`key` without the prefixes of wrapper modules, of which there may be several."""
    while key not in own:
        wrapping = next((wrapping for wrapping in WRAPPINGS if key.startswith(wrapping)), None)
        if wrapping is None:
            break
        key = key.removeprefix(wrapping)
    return key


def _read(file: Path, field: str) -> dict[str, Tensor]:
    if not file.is_file():
        raise UsageError(f"{field}={file}: there is no such file")
    try:
        content: Any = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
        check_tensors(content)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{field}={file}: rejected, it is damaged or contains Python objects, which could run arbitrary code; "
            "allowed are tensors in a state dict"
        ) from error
    except Exception as error:  # the exception depends on where the file is damaged
        raise UsageError(f"{field}={file}: cannot be read ({type(error).__name__}: {error})") from error
    for _ in NESTINGS:  # a mapping may contain itself
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in NESTINGS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    tensors = {
        str(key): value
        for key, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise UsageError(
            f"{field}={file}: contains no state dict; allowed are named tensors, possibly under one of "
            f"{', '.join(NESTINGS)}"
        )
    return tensors


def check_tensors(value: Any) -> None:
    """Raises ValueError for a tensor that is not an ordinary one with all its values in memory.

    A small file can hold a huge tensor: sparse, without data, or one value repeated.
    """
    if isinstance(value, Mapping):
        for inner in value.values():
            check_tensors(inner)
    elif isinstance(value, Tensor):
        ordinary = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not ordinary or value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise ValueError("a tensor is sparse, quantised, without data or repeats its values")
