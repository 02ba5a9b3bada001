"""Convolutions on XLA's CPU client in forms that its compiler does well.

That compiler makes the gradients of a depthwise convolution dense ones, whose cost grows with the square of the
channels. Here a depthwise convolution is a sum over the taps of its kernel: shifted images times the tap's weights,
channels last, so that the innermost loop is over channels. Its gradients are such sums too. On a small map the sum of
every pixel is written out, over the taps that overlap the map; on a map of one pixel that is one product. Pointwise
convolutions are matrix products over the pixels, a dense one of few channels (the stem) is one over patches. Each form
but the stem's is one node of the graph that torch_xla traces (`xla_trace.py`).

A model's names, parameters and state are unchanged, and it computes the same function. A TPU has convolutions of its
own and does not use these forms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import product
from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from cifar_imbalance.runtimes.convolutions import Kind, Pads, Pair, convolutions_of, pads_of
from cifar_imbalance.runtimes.xla_trace import TracedOnce

WRITTEN_OUT = 36  # the most products of a pixel and a tap that are written out one by one
STEM_CHANNELS = 4  # the most input channels of a dense convolution that becomes a product over patches

Reach = tuple[int, int, int]  # along one axis: a tap, the pixel that it reads, the place of the output that it adds to


def use_xla_cpu_forms(module: nn.Module) -> None:
    """Switch the convolutions of `module` to the forms above, where they have one."""
    for part, kind in convolutions_of(module):
        is_wide = kind == "other" and (part.groups > 1 or part.in_channels > STEM_CHANNELS)
        if not is_wide and not isinstance(part.padding, str):
            part.__class__ = _FORMS[kind][isinstance(part, Conv2dSame)]


class PointwiseConv2d(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        result = _Pointwise.apply(_as_autocast(images), _as_autocast(self.weight))
        return result if self.bias is None else result + self.bias.view(1, -1, 1, 1).to(result.dtype)


class DepthwiseConv2d(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        pads = pads_of(self, images.shape[2], images.shape[3])
        return _Depthwise.apply(_as_autocast(images), self.weight, self.stride, pads)


class PatchConv2d(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        left, right, top, bottom = pads_of(self, images.shape[2], images.shape[3])
        padded = pad(images.permute(0, 2, 3, 1), (0, 0, left, right, top, bottom))
        patches = torch.cat([shifted for _, shifted in _shifted(padded, self.kernel_size, self.stride)], 3)
        return linear(patches, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)


class PointwiseConv2dSame(PointwiseConv2d, Conv2dSame):
    pass


class DepthwiseConv2dSame(DepthwiseConv2d, Conv2dSame):
    pass


class PatchConv2dSame(PatchConv2d, Conv2dSame):
    pass


_FORMS: dict[Kind, tuple[type[nn.Conv2d], type[nn.Conv2d]]] = {  # of torch's convolution and of timm's
    "pointwise": (PointwiseConv2d, PointwiseConv2dSame),
    "depthwise": (DepthwiseConv2d, DepthwiseConv2dSame),
    "other": (PatchConv2d, PatchConv2dSame),
}


def _as_autocast(tensor: Tensor) -> Tensor:
    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor


class _Pointwise(torch.autograd.Function):
    generate_vmap_rule = True  # so that models can be stacked

    @staticmethod
    def forward(images: Tensor, weight: Tensor) -> Tensor:
        return POINTWISE([images, weight])[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        to_images, to_weight = POINTWISE_GRADIENTS([gradient, *ctx.saved_tensors])
        return to_images, to_weight


class _Depthwise(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, weight: Tensor, stride: Pair, pads: Pads) -> Tensor:
        return DEPTHWISE([images, weight], stride, pads)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, weight, *ctx.settings = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        to_images, to_weight = DEPTHWISE_GRADIENTS([gradient, *ctx.saved_tensors], *ctx.settings)
        return to_images, to_weight, None, None


# ---------------------------------------------------------------- pointwise
def pointwise(images: Tensor, weight: Tensor) -> tuple[Tensor]:
    """Images [batch, out, height, width] of `images` [batch, in, height, width] and `weight` [out, in, 1, 1]."""
    return (_channels_first(_channels_last(images) @ weight.flatten(1).t()),)


def pointwise_gradients(gradient: Tensor, images: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of `images` and `weight`, given the output's."""
    gradient, images = _channels_last(gradient), _channels_last(images)
    to_weight = gradient.flatten(0, 2).t() @ images.flatten(0, 2)
    return _channels_first(gradient @ weight.flatten(1)), to_weight.view(weight.shape)


# ---------------------------------------------------------------- depthwise
def depthwise(images: Tensor, weight: Tensor, stride: Pair, pads: Pads) -> tuple[Tensor]:
    """Images [batch, channels, height', width'] of `images` [batch, channels, height, width] and `weight`
    [channels, 1, rows, columns]; summed in the weight's precision.
    """
    given, taps = _channels_last(images), weight[:, 0].permute(1, 2, 0)
    down, across = _reaches(images, weight, stride, pads)
    if len(down) * len(across) <= WRITTEN_OUT:
        sums = _sums(((i, j), given[:, u, v] * taps[r, c]) for (r, u, i), (c, v, j) in product(down, across))
        result = _as_map(sums, _places(images, weight, stride, pads), given)
    else:
        left, right, top, bottom = pads
        padded = pad(given, (0, 0, left, right, top, bottom))
        result = _sum(shifted * taps[tap] for tap, shifted in _shifted(padded, weight.shape[2:], stride))
    return (_channels_first(result).to(images.dtype),)


def depthwise_gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: Pair, pads: Pads
) -> tuple[Tensor, Tensor]:
    """The gradients of `images` and `weight`, given the output's."""
    given, taps = _channels_last(images), weight[:, 0].permute(1, 2, 0)
    down, across = _reaches(images, weight, stride, pads)
    back = _channels_last(gradient)
    if len(down) * len(across) <= WRITTEN_OUT:
        reaches = list(product(down, across))
        to_pixels = _sums(((u, v), back[:, i, j] * taps[r, c]) for (r, u, i), (c, v, j) in reaches)
        to_images = _as_map(to_pixels, images.shape[2:], given)
        to_taps = _sums(((r, c), given[:, u, v] * back[:, i, j]) for (r, u, i), (c, v, j) in reaches)
        to_taps = {tap: products.sum(0) for tap, products in to_taps.items()}
    else:
        to_images = _to_images(back, taps, images.shape[2:], stride, pads)
        to_taps = _to_taps(back, given, down, across)
    unused = torch.zeros_like(taps[0, 0])
    every_tap = torch.cat([to_taps.get(tap, unused) for tap in _grid(weight.shape[2:])])
    return _channels_first(to_images).to(images.dtype), every_tap.view(taps.shape).permute(2, 0, 1).unsqueeze(1)


def _to_images(back: Tensor, taps: Tensor, size: Sequence[int], stride: Pair, pads: Pads) -> Tensor:
    """The gradient [batch, height, width, channels] of images of `size`, a sum over all taps."""
    (rows, columns), (height, width) = taps.shape[:2], size
    batch, _, _, channels = back.shape
    left, _, top, _ = pads
    if stride != (1, 1):  # zeros between: place i goes to i * stride
        between = (0, 0, 0, stride[1] - 1, 0, 0, 0, stride[0] - 1)
        spread = pad(back.unsqueeze(3).unsqueeze(2), between)
        back = spread.reshape(batch, back.shape[1] * stride[0], back.shape[2] * stride[1], channels)
    # Pixel u gets from place i by tap u + top - i * stride: the kernel is turned round.
    before, before_left = rows - 1 - top, columns - 1 - left
    after, after_right = height + top - back.shape[1], width + left - back.shape[2]
    padded = pad(back, (0, 0, before_left, after_right, before, after))
    return _sum(
        shifted * taps[rows - 1 - row, columns - 1 - column]
        for (row, column), shifted in _shifted(padded, (rows, columns), (1, 1))
    )


def _to_taps(back: Tensor, given: Tensor, down: list[Reach], across: list[Reach]) -> dict[Pair, Tensor]:
    """The gradients [channels] of the taps that overlap the map.

    Whole rows are added before the reduction, as XLA's CPU compiler vectorises such sums but not the reduction.
    """
    result = {}
    for row, column in product(dict.fromkeys(r for r, _, _ in down), dict.fromkeys(c for c, _, _ in across)):
        pixels, places = zip(*((v, j) for c, v, j in across if c == column), strict=True)
        step = pixels[1] - pixels[0] if len(pixels) > 1 else 1
        from_pixels, to_places = slice(pixels[0], pixels[-1] + 1, step), slice(places[0], places[-1] + 1)
        products = _sum(given[:, u, from_pixels] * back[:, i, to_places] for r, u, i in down if r == row)
        result[row, column] = products.sum((0, 1))
    return result


# ---------------------------------------------------------------- taps, pixels and places
def _channels_last(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1)


def _channels_first(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2)


def _places(images: Tensor, weight: Tensor, stride: Pair, pads: Pads) -> Pair:
    """Height and width of the output."""
    left, right, top, bottom = pads
    height = (images.shape[2] + top + bottom - weight.shape[2]) // stride[0] + 1
    return height, (images.shape[3] + left + right - weight.shape[3]) // stride[1] + 1


def _reaches(images: Tensor, weight: Tensor, stride: Pair, pads: Pads) -> tuple[list[Reach], list[Reach]]:
    """Down and across: what every tap reads at every place, pixels of the map alone."""
    height, width = _places(images, weight, stride, pads)

    def along(side: int, places: int, kernel: int, stride: int, before: int) -> list[Reach]:
        reaches = ((tap, place * stride + tap - before, place) for tap in range(kernel) for place in range(places))
        return [(tap, pixel, place) for tap, pixel, place in reaches if 0 <= pixel < side]

    return (
        along(images.shape[2], height, weight.shape[2], stride[0], pads[2]),
        along(images.shape[3], width, weight.shape[3], stride[1], pads[0]),
    )


def _shifted(padded: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Iterator[tuple[Pair, Tensor]]:
    """Every tap, and what of `padded` [batch, height, width, channels] it reads at all places."""
    height, width = ((side - size) // step for side, size, step in zip(padded.shape[1:3], kernel, stride, strict=True))
    for row, column in product(range(kernel[0]), range(kernel[1])):
        rows = slice(row, row + height * stride[0] + 1, stride[0])
        columns = slice(column, column + width * stride[1] + 1, stride[1])
        yield (row, column), padded[:, rows, columns]


def _grid(size: Sequence[int]) -> Iterator[Pair]:
    height, width = size
    return product(range(height), range(width))


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _sums(terms: Iterable[tuple[Pair, Tensor]]) -> dict[Pair, Tensor]:
    """The sum of the terms of each key."""
    sums: dict[Pair, Tensor] = {}
    for key, term in terms:
        sums[key] = sums[key] + term if key in sums else term
    return sums


def _as_map(pixels: dict[Pair, Tensor], size: Sequence[int], like: Tensor) -> Tensor:
    """Maps [batch, height, width, channels] of their pixels [batch, channels]; pixels that are missing are zero."""
    zero = torch.zeros_like(like[:, 0, 0])
    return torch.stack([pixels.get(at, zero) for at in _grid(size)], 1).unflatten(1, tuple(size))


POINTWISE = TracedOnce(pointwise, "pointwise")
POINTWISE_GRADIENTS = TracedOnce(pointwise_gradients, "pointwise_gradients")
DEPTHWISE = TracedOnce(depthwise, "depthwise")
DEPTHWISE_GRADIENTS = TracedOnce(depthwise_gradients, "depthwise_gradients")
