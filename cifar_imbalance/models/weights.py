"""Weights from a file: a state dict in whatever wrapping, checked against the network that it is for."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cifar_imbalance.configuration.values import WEIGHT_SUFFIXES
from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.heads import head_prefixes

log = logging.getLogger(__name__)

NESTINGS = (
    "state_dict",
    "average",
    "ema",
    "model",
    "model_state",
)  # where training scripts keep the tensors in their files
WRAPPINGS = ("_orig_mod.", "module.", "model.")  # torch.compile, DataParallel and AveragedModel, Lightning
NAMES_SHOWN = 3


def load_weights(
    module: nn.Module, file: Path, *, name: str, field: str = "model.weights", fresh_head: bool = False
) -> bool:
    """Fill `module` from a state dict in `file`; the head keeps its own weights where the file's has other classes,
    and with `fresh_head` in any case.

    Gives whether the head is such a new one. Everything else must fit. Raises UsageError, which names `field`, where
    the file cannot be read or does not fit.
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
        given = {key: tensor for key, tensor in given.items() if key not in head}

    # Counters that only batch norms without momentum read; converted files often lack them.
    wanted = {key for key in own if not (new_head and key in head) and not key.endswith("num_batches_tracked")}
    missing = sorted(wanted - given.keys())
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


def _unwrapped(key: str, own: Mapping[str, Tensor]) -> str:
    """`key` without the names of wrappers around the network, of which there may be several."""
    while key not in own:
        wrapping = next((wrapping for wrapping in WRAPPINGS if key.startswith(wrapping)), None)
        if wrapping is None:
            break
        key = key.removeprefix(wrapping)
    return key


def _read(file: Path, field: str) -> dict[str, Tensor]:
    if file.suffix not in WEIGHT_SUFFIXES:
        raise UsageError(f"{field}={file}: allowed are files that end in {', '.join(WEIGHT_SUFFIXES)}")
    if not file.is_file():
        raise UsageError(f"{field}={file}: there is no such file")
    try:
        content: Any = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{field}={file}: refused, it is damaged or holds Python objects, whose loading could run any code; "
            "allowed are tensors in a state dict"
        ) from error
    except Exception as error:  # what a damaged file provokes depends on where it is damaged
        raise UsageError(f"{field}={file}: cannot be read ({type(error).__name__}: {error})") from error
    while isinstance(content, Mapping):
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
            f"{field}={file}: holds no state dict; allowed are named tensors, also under one of {', '.join(NESTINGS)}"
        )
    return tensors
