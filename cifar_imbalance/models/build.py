"""From the model's configuration to a network with its weights, its input size and its normalisation."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
import torchinfo
from safetensors.torch import load_file
from timm.models import PretrainedCfg, get_pretrained_cfg, is_model_pretrained
from torch import Tensor, nn
from torchinfo.enums import Units

from cifar_imbalance import keys
from cifar_imbalance.configuration import fields
from cifar_imbalance.configuration.allowed import WEIGHT_SUFFIXES
from cifar_imbalance.errors import UsageError, nearest
from cifar_imbalance.models.freezing import head_prefixes

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


@dataclass(frozen=True)
class BuiltModel:
    """`module` is on the CPU; it takes [batch, 3, *input_size] of values 0..1 after `mean` and `std`."""

    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int]


def build_model(model: fields.Model, *, class_count: int, image_size: tuple[int, int], seed: int) -> BuiltModel:
    """The network `model.name` with `class_count` logits, for images of `image_size` (height, width).

    Equal seeds give equal weights; torch's own random state is left as it was. Raises UsageError for an unknown name,
    for weights that cannot be had or do not fit, and for an input size that the network cannot take.
    """
    check_name(model)
    native = get_pretrained_cfg(model.name) or PretrainedCfg()
    input_size = _input_size(model, native.input_size[1:], image_size)
    # A rate of 0 is every model's default, and some models know no such argument.
    optional: dict[str, Any] = {
        name: rate for name in ("drop_rate", "drop_path_rate") if (rate := getattr(model, name))
    }
    if native.fixed_input_size and input_size != tuple(native.input_size[1:]):
        optional["img_size"] = input_size
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(keys.integer(seed, "initialisation"))
        module = _create(model, class_count, optional, input_size)
        if model.head_init == "glorot" and not (model.pretrained and class_count == native.num_classes):
            _init_head_as_keras(module)
        if model.weights is not None:
            load_weights(module, Path(model.weights).expanduser(), name=model.name)
        _check_forward(module, model.name, class_count, input_size)
    data = timm.data.resolve_model_data_config(module)
    return BuiltModel(module, tuple(data["mean"]), tuple(data["std"]), input_size)


# ---------------------------------------------------------------- name, size, construction
def check_name(model: fields.Model) -> None:
    """Raises UsageError for a name that timm does not know, or has no weights for where they are asked."""
    name = model.name
    architecture = name.split(".")[0]
    if not timm.is_model(name):
        raise UsageError(f"model.name={name}: timm has no such model{nearest(architecture, timm.list_models())}")
    tagged = timm.list_pretrained(f"{architecture}.*")
    if name != architecture and name not in tagged:
        raise UsageError(f"model.name={name}: allowed are {', '.join([architecture, *tagged])}{nearest(name, tagged)}")
    if model.pretrained and not is_model_pretrained(name):
        raise UsageError(
            f"model.pretrained=true: timm has no weights of {name}; allowed is false, or model.weights=FILE"
        )


def _input_size(model: fields.Model, native: tuple[int, int], image_size: tuple[int, int]) -> tuple[int, int]:
    if model.resolution is None:
        return image_size
    height, width = (round(model.resolution * side) // 8 * 8 for side in native)
    if min(height, width) < 8:
        raise UsageError(
            f"model.resolution={model.resolution}: the input of {model.name}, natively {native[0]} x {native[1]}, "
            f"must keep 8 pixels or more, a factor of {8 / min(native):.3g} or more"
        )
    return height, width


def _create(model: fields.Model, class_count: int, optional: dict[str, Any], input_size: tuple[int, int]) -> nn.Module:
    pretrained = model.pretrained and model.weights is None
    try:
        with _impatient_hub() if pretrained else contextlib.nullcontext():
            return timm.create_model(model.name, pretrained=pretrained, num_classes=class_count, **optional)
    except TypeError as error:
        refused = next((name for name in optional if f"'{name}'" in str(error)), None)
        if refused in ("drop_rate", "drop_path_rate"):
            raise UsageError(
                f"model.{refused}={getattr(model, refused)}: {model.name} has no such rate, allowed is 0"
            ) from error
        if refused == "img_size":
            raise _size_refused(model.name, input_size, error) from error
        raise
    except Exception as error:
        if "img_size" in optional and isinstance(error, (AssertionError, RuntimeError, ValueError, ArithmeticError)):
            raise _size_refused(model.name, input_size, error) from error
        if pretrained:  # whatever the hub's client raises, the answer is the same
            raise UsageError(
                f"model.pretrained=true: the weights of {model.name} cannot be had from the hub "
                f"({type(error).__name__}); without network give model.weights=FILE or model.pretrained=false"
            ) from error
        raise


def _init_head_as_keras(module: nn.Module) -> None:
    """Glorot's uniform weights (Glorot and Bengio 2010, eq. 16) and a bias of 0.

    timm's EfficientNets draw a head's weights from U(-r, r) with r = 1 / sqrt(classes), 0.32 for ten classes instead of
    0.07.
    """
    for name, parameter in module.named_parameters():
        if name.startswith(head_prefixes(module)):
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)


@contextlib.contextmanager
def _impatient_hub() -> Iterator[None]:
    """Where the hub does not answer, leave huggingface_hub its cache alone: its own retries last a minute."""
    import huggingface_hub.utils
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    try:
        huggingface_hub.utils.get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # of the client's own HTTP library, which differs between its versions
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _check_forward(module: nn.Module, name: str, class_count: int, input_size: tuple[int, int]) -> None:
    """Try one image: only the network itself knows which sizes it can take."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            shape = tuple(getattr(module(torch.zeros(1, 3, *input_size)), "shape", ()))
    except (AssertionError, RuntimeError, ValueError, ArithmeticError) as error:
        raise _size_refused(name, input_size, error) from error
    for part, mode in modes.items():
        part.training = mode
    if shape != (1, class_count):
        raise UsageError(f"model.name={name}: gives {list(shape)} for one image; allowed are models that classify")


def _size_refused(name: str, input_size: tuple[int, int], error: Exception) -> UsageError:
    height, width = input_size
    return UsageError(
        f"model.name={name}: cannot take images of {height} x {width} ({error}); "
        "model.resolution=FACTOR resizes them to FACTOR times the model's native side"
    )


# ---------------------------------------------------------------- weights from a file
def load_weights(module: nn.Module, file: Path, *, name: str, field: str = "model.weights") -> bool:
    """Fill `module` from a state dict in `file`; the head keeps its own weights where the file's has other classes.

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
    new_head = other_classes or (bool(head) and not in_file)
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


# ---------------------------------------------------------------- for a reader
def model_summary(built: BuiltModel, batch_size: int) -> str:
    """The layers of the network with their shapes for one image and their parameters, and what a batch takes.

    Works on a copy, so modes, batch norm statistics and random state stay as they are.
    """
    statistics = torchinfo.summary(
        copy.deepcopy(built.module),
        input_data=torch.zeros(1, 3, *built.input_size),
        depth=3,
        col_names=("input_size", "output_size", "num_params"),
        row_settings=("depth", "var_names"),
        mode="eval",
        device="cpu",
        verbose=0,
    )
    layers = str(statistics)
    for unit in Units:  # torchinfo 1.8 prints the name of the enumeration since Python 3.11
        layers = layers.replace(str(unit), unit.value)
    height, width = built.input_size
    return (
        f"{layers}\n"
        f"Shapes, mult-adds and sizes above are for one image of {height} x {width} pixels.\n"
        f"A forward pass of a batch of {batch_size}: {statistics.total_mult_adds * batch_size / 1e9:.2f} G mult-adds, "
        f"{statistics.total_output_bytes * batch_size / 1e6:.0f} MB of layer outputs.\n"
    )
