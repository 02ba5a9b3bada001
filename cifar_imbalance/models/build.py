"""From the model configuration to a network with its weights, input size and normalisation."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import timm
import timm.data
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg, is_model_pretrained
from torch import nn
from torch.func import functional_call

from cifar_imbalance import keys
from cifar_imbalance.configuration import fields
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import UsageError, nearest
from cifar_imbalance.models import resnet_cifar as resnet_cifar  # registers its models with timm
from cifar_imbalance.models.heads import give_class_factors, give_cosine_head, init_head_as_keras
from cifar_imbalance.models.noise import KeyedNoise
from cifar_imbalance.models.weights import load_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltModel:
    """`module` is on the CPU; its input is [batch, 3, *input_size], values 0..1 normalised by `mean` and `std`.

    What is resized to it are images of `image_size`.
    """

    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: tuple[int, int]
    input_size: tuple[int, int]
    noisy: bool = False  # whether it draws noise in training


def build_model(model: fields.Model, *, class_count: int, image_size: tuple[int, int], seed: int) -> BuiltModel:
    """The network `model.name` with `class_count` logits, for images of `image_size` (height, width).

    Equal seeds give equal weights; torch's own random state is unchanged. Raises UsageError for an unknown name, for
    weights that are unavailable or do not fit, for an input size that the network does not support, and for noise in
    training that has no key.
    """
    check_name(model)
    native = get_pretrained_cfg(model.name) or PretrainedCfg()
    input_size = _input_size(model, native.input_size[1:], image_size)
    optional: dict[str, Any] = {"drop_rate": model.drop_rate, "drop_path_rate": model.drop_path_rate}
    if native.fixed_input_size and input_size != tuple(native.input_size[1:]):
        optional["img_size"] = input_size
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(keys.integer(seed, "initialisation"))
        module = _create(model, class_count, optional, input_size)
        if model.cosine_scale is not None:
            give_cosine_head(module, model.cosine_scale, name=model.name)
        elif model.head_init == "glorot" and not (model.pretrained and class_count == native.num_classes):
            init_head_as_keras(module)
        if model.class_factors:
            give_class_factors(module, name=model.name)
        if model.weights is not None:
            load_weights(module, expanded(model.weights, "model.weights"), name=model.name)
        noisy = _checked_forward(module, model.name, class_count, input_size)
    data = timm.data.resolve_model_data_config(module)
    return BuiltModel(module, tuple(data["mean"]), tuple(data["std"]), image_size, input_size, noisy)


def is_ours(name: str) -> bool:
    """Whether timm has the model only because this package registers it."""
    return timm.models.model_entrypoint(name.split(".")[0]).__module__.startswith(__package__.split(".")[0])


def check_name(model: fields.Model) -> None:
    """Raises UsageError for a name that timm does not have, or has no weights for if they are requested."""
    name = model.name
    architecture = name.split(".")[0]
    if not timm.is_model(name):
        raise UsageError(f"model.name={name}: timm has no such model{nearest(architecture, timm.list_models())}")
    tagged = timm.list_pretrained(f"{architecture}.*")
    if name != architecture and name not in tagged:
        raise UsageError(f"model.name={name}{nearest(name, tagged)}: allowed are {', '.join([architecture, *tagged])}")
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
        with _offline_if_unreachable() if pretrained else contextlib.nullcontext():
            return timm.create_model(model.name, pretrained=pretrained, num_classes=class_count, **optional)
    except TypeError as error:
        rejected = next((name for name in optional if f"'{name}'" in str(error)), None)
        if rejected in ("drop_rate", "drop_path_rate") and not optional[rejected]:  # a model without it
            others = {name: value for name, value in optional.items() if name != rejected}
            return _create(model, class_count, others, input_size)
        if rejected in ("drop_rate", "drop_path_rate"):
            raise UsageError(
                f"model.{rejected}={getattr(model, rejected)}: {model.name} has no such rate, allowed is 0"
            ) from error
        if rejected == "img_size":
            raise _size_error(model.name, input_size, error) from error
        raise
    except Exception as error:
        if "img_size" in optional and isinstance(error, (AssertionError, RuntimeError, ValueError, ArithmeticError)):
            raise _size_error(model.name, input_size, error) from error
        if pretrained:  # whatever the hub's client raises, the message is the same
            raise UsageError(
                f"model.pretrained=true: the weights of {model.name} cannot be downloaded from the hub "
                f"({type(error).__name__}); without network use model.weights=FILE or model.pretrained=false"
            ) from error
        raise


@contextlib.contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """If the hub does not answer, let huggingface_hub use only its cache: its own retries take a minute."""
    import huggingface_hub.utils
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    try:
        huggingface_hub.utils.get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # from the client's HTTP library, which differs between versions
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _checked_forward(module: nn.Module, name: str, class_count: int, input_size: tuple[int, int]) -> bool:
    """Run images through the network, which tells the sizes it supports; returns whether it draws noise in training."""
    modes = {part: part.training for part in module.modules()}
    statistics = {key: buffer.clone() for key, buffer in module.named_buffers()}
    try:
        with torch.no_grad():
            shape = tuple(getattr(module.eval()(torch.zeros(1, 3, *input_size)), "shape", ()))
            with KeyedNoise(torch.tensor(0)) as noise:
                functional_call(module.train(), statistics, (torch.zeros(2, 3, *input_size),))
    except (AssertionError, RuntimeError, ValueError, ArithmeticError) as error:
        raise _size_error(name, input_size, error) from error
    for part, mode in modes.items():
        part.training = mode
    if shape != (1, class_count):
        raise UsageError(f"model.name={name}: outputs {list(shape)} for one image; allowed are classifiers")
    return noise.drew


def _size_error(name: str, input_size: tuple[int, int], error: Exception) -> UsageError:
    height, width = input_size
    if "can't allocate memory" in str(error):  # torch's error on the CPU
        return UsageError(
            f"model.resolution: images of {height} x {width} need more memory than there is; choose a smaller one"
        )
    return UsageError(
        f"model.name={name}: does not support images of {height} x {width} ({error}); "
        "model.resolution=FACTOR resizes them to FACTOR times the model's native side"
    )
