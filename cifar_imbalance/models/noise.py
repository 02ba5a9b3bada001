"""Noise inside a network, by key: dropout and stochastic depth as a function of the step's seed alone.

torch's generators give each device other numbers, and none to the members of a stack. Here a number is a hash of the
seed, the place in the network and the position in the tensor, in integers: the same on every device, for one network or
for many at a time (torch.func.vmap), in a graph that is compiled once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from cifar_imbalance.errors import UsageError

WORD = 0xFFFF_FFFF
GOLDEN = 0x9E37_79B9  # 2^32 divided by the golden ratio: keys of neighbouring places differ in many bits


class KeyedNoise(TorchFunctionMode):
    """While it is active, dropout and bernoulli_ draw by `seed`, an integer scalar of 0..2^31.

    Raises UsageError for torch's other random functions: their numbers would have no key.
    """

    def __init__(self, seed: Int[Tensor, ""]) -> None:
        super().__init__()
        self._seed = seed
        self._place = 0

    @property
    def drew(self) -> bool:
        """Whether anything has been drawn."""
        return self._place > 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is functional.dropout:
            return self._dropout(*args, **(kwargs or {}))
        if function is Tensor.bernoulli_:
            return self._bernoulli(*args, **(kwargs or {}))
        if function in WITHOUT_KEY or _drops_attention(function, args, kwargs or {}):
            raise UsageError(
                f"model.name: the network draws noise by {function.__name__}; allowed are networks with dropout and "
                "drop path alone"
            )
        return function(*args, **(kwargs or {}))

    def _dropout(self, values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0.0:
            return values
        return values * (self._bernoulli(values, 1.0 - p) / (1.0 - p))

    def _bernoulli(self, like: Tensor, p: float = 0.5) -> Tensor:
        """1 with probability `p`, else 0, in the shape and type of `like`."""
        self._place += 1
        key = mixed(mixed(self._seed) ^ (self._place * GOLDEN & WORD))
        positions = torch.arange(math.prod(like.shape), device=like.device)
        return (mixed(mixed(positions) ^ key) < round(p * 2**32)).to(like.dtype).view(like.shape)


def _drops_attention(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    if function is not functional.scaled_dot_product_attention:
        return False
    return (args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)) > 0.0


def mixed(words: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """A permutation of the integers below 2^32, its bits well mixed (Wellons 2018, lowbias32)."""
    words = ((words >> 16) ^ words) * 0x7FEB_352D & WORD
    words = ((words >> 15) ^ words) * 0x846C_A68B & WORD
    return (words >> 16) ^ words


WITHOUT_KEY = {
    torch.bernoulli,
    torch.dropout,
    torch.multinomial,
    torch.normal,
    torch.rand,
    torch.rand_like,
    torch.randint,
    torch.randn,
    torch.randn_like,
    torch.randperm,
    Tensor.exponential_,
    Tensor.normal_,
    Tensor.random_,
    Tensor.uniform_,
    functional.alpha_dropout,
    functional.dropout1d,
    functional.dropout2d,
    functional.dropout3d,
    functional.feature_alpha_dropout,
    functional.rrelu,
}
