"""Convolutions on the CPU in the form that is fastest for the size of their feature map.

At 32 px most feature maps of an EfficientNet are 1 to 4 pixels wide, and there oneDNN's convolutions are far below the
machine's peak. The form of a convolution depends on shapes and processor (`python tests/runtimes/convolution_forms.py`
times them; results in docs/results):

- 1 x 1 kernels as one matrix product over the pixels, on maps up to a size that depends on the processor
  (`processors.py`).
- Depthwise on a map of one pixel: a product with the one tap that overlaps the image.
- Depthwise on a map smaller than its kernel: 2.6 to 8 times as fast with the weight's gradient summed tap by tap, over
  the taps that overlap the image; slower on any larger map. Forward pass and input gradient are still oneDNN's.

In bfloat16 every kernel is cropped to the taps that overlap the image: the weight gradients of the others are read by
oneDNN (of torch 2.9) from memory that it did not write.

A model's names, parameters and state are unchanged, and it computes the same function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from timm.layers import Conv2dSame
from timm.layers.padding import get_same_padding
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

Kind = Literal["pointwise", "depthwise", "other"]
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # left, right, top, bottom, as torch.nn.functional.pad has them


def use_small_map_forms(module: nn.Module, product_map: int) -> None:
    """Switch the convolutions of `module` to the form that is fastest for the size of their feature map.

    `product_map` is the largest map, in pixels, on which a pointwise one is a matrix product.
    """
    for part, kind in convolutions_of(module):
        part.__class__ = _FORMS[kind][isinstance(part, Conv2dSame)]
        if isinstance(part, PointwiseConv2d):
            part.__dict__["product_map"] = product_map


def convolutions_of(module: nn.Module) -> Iterator[tuple[nn.Conv2d, Kind]]:
    """The convolutions of `module` that may take another form: torch's and timm's, not dilated, zeros around."""
    for part in module.modules():
        if type(part) not in (nn.Conv2d, Conv2dSame):
            continue
        assert isinstance(part, nn.Conv2d)
        if part.dilation != (1, 1) or part.padding_mode != "zeros":
            continue
        if part.groups == 1 and part.kernel_size == part.stride == (1, 1) and part.padding == (0, 0):
            yield part, "pointwise"
        elif part.groups == part.in_channels == part.out_channels > 1 and part.bias is None:
            yield part, "depthwise"
        else:
            yield part, "other"


class PointwiseConv2d(nn.Conv2d):
    product_map: int

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2] * images.shape[3] > self.product_map:
            return super().forward(images)
        return linear(images.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class CroppedConv2d(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(images.device.type) or isinstance(self.padding, str):
            return super().forward(images)
        height, width = images.shape[2:]
        pads = pads_of(self, height, width)
        rows, top, bottom = _crop(height, self.kernel_size[0], self.stride[0], pads[2:])
        columns, left, right = _crop(width, self.kernel_size[1], self.stride[1], pads[:2])
        weight = self.weight[:, :, rows, columns]
        if weight.shape == self.weight.shape:
            return super().forward(images)
        padded, padding = _padded(images, (left, right, top, bottom))
        return conv2d(padded, weight, self.bias, self.stride, padding, 1, self.groups)


class DepthwiseConv2d(CroppedConv2d):
    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        small = height < self.kernel_size[0] or width < self.kernel_size[1]
        # Under autocast the sums over taps would be in half precision.
        plain = torch.is_autocast_enabled(images.device.type)
        if not small or plain or isinstance(self.padding, str):
            return super().forward(images)
        pads = pads_of(self, height, width)
        left, right, top, bottom = pads
        (rows, columns), (down, across) = self.kernel_size, self.stride
        one_place = 1 + top + bottom < rows + down and 1 + left + right < columns + across
        if height == width == 1 and one_place and top < rows and left < columns:
            return images * self.weight[:, 0, top, left].view(1, -1, 1, 1)
        return _SmallMapDepthwise.apply(images, self.weight, self.stride, pads)


class CroppedConv2dSame(CroppedConv2d, Conv2dSame):
    pass


class PointwiseConv2dSame(PointwiseConv2d, Conv2dSame):
    pass


class DepthwiseConv2dSame(DepthwiseConv2d, Conv2dSame):
    pass


_FORMS: dict[Kind, tuple[type[nn.Conv2d], type[nn.Conv2d]]] = {  # of torch's convolution and of timm's
    "pointwise": (PointwiseConv2d, PointwiseConv2dSame),
    "depthwise": (DepthwiseConv2d, DepthwiseConv2dSame),
    "other": (CroppedConv2d, CroppedConv2dSame),
}


def pads_of(part: nn.Conv2d, height: int, width: int) -> Pads:
    """The padding that a convolution adds to a map of this size on each side."""
    if not isinstance(part, Conv2dSame):
        assert not isinstance(part.padding, str)
        rows, columns = part.padding
        return columns, columns, rows, rows
    rows, columns = (
        get_same_padding(side, kernel, stride, 1)
        for side, kernel, stride in zip((height, width), part.kernel_size, part.stride, strict=True)
    )
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def _crop(side: int, kernel: int, stride: int, pads: Pair) -> tuple[slice, int, int]:
    """Along one axis: the taps from the first to the last that overlap the image, and the padding for them alone."""
    places = (side + sum(pads) - kernel) // stride + 1
    taps = [tap for tap, _, _ in overlaps(side, places, kernel, stride, pads[0])]
    first, last = taps[0], taps[-1]
    before = pads[0] - first
    return slice(first, last + 1), before, (places - 1) * stride + last - first + 1 - before - side


def weight_gradient(images: Tensor, gradient: Tensor, *, kernel: Pair, stride: Pair, pads: Pads) -> Tensor:
    """Gradient [channels, 1, *kernel] of a depthwise kernel.

    `images` [batch, channels, height, width] is the input, `gradient` [batch, channels, height', width'] the output's.
    """
    images, gradient = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # channels last, as in memory
    result = gradient.new_zeros(*kernel, images.shape[3])
    rows = overlaps(images.shape[1], gradient.shape[1], kernel[0], stride[0], pads[2])
    columns = overlaps(images.shape[2], gradient.shape[2], kernel[1], stride[1], pads[0])
    for row, from_row, to_row in rows:
        for column, from_column, to_column in columns:
            product = images[:, from_row, from_column] * gradient[:, to_row, to_column]
            result[row, column] = product.sum((0, 1, 2))
    return result.permute(2, 0, 1).unsqueeze(1)


def overlaps(side: int, places: int, kernel: int, stride: int, before: int) -> list[tuple[int, slice, slice]]:
    """Along one axis: each tap that overlaps the image, the pixels it covers and the output positions they go to.

    Position p reads pixel p * stride + tap - before of `side` pixels.
    """
    overlaps = []
    for tap in range(kernel):
        first = max(0, -((tap - before) // stride))  # the first position whose pixel is not negative
        last = min(places - 1, (side - 1 + before - tap) // stride)
        if first <= last:
            start = first * stride + tap - before
            end = last * stride + tap - before + 1
            overlaps.append((tap, slice(start, end, stride), slice(first, last + 1)))
    return overlaps


class _SmallMapDepthwise(torch.autograd.Function):
    generate_vmap_rule = True  # so that models can be stacked

    @staticmethod
    def forward(images: Tensor, weight: Tensor, stride: Pair, pads: Pads) -> Tensor:
        padded, padding = _padded(images, pads)
        return conv2d(padded, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, weight, ctx.stride, ctx.pads = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        to_images = to_weight = None
        if ctx.needs_input_grad[0]:
            padded, padding = _padded(images, ctx.pads)
            to_images = torch.ops.aten.convolution_backward(
                gradient, padded, weight, None, ctx.stride, padding, [1, 1], False, [0, 0], len(weight),
                [True, False, False],
            )[0]  # fmt: skip
            if padded is not images:
                left, _, top, _ = ctx.pads
                to_images = to_images[:, :, top : top + images.shape[2], left : left + images.shape[3]]
        if ctx.needs_input_grad[1]:
            kernel = (weight.shape[2], weight.shape[3])
            to_weight = weight_gradient(images, gradient, kernel=kernel, stride=ctx.stride, pads=ctx.pads)
        return to_images, to_weight, None, None


def _padded(images: Tensor, pads: Pads) -> tuple[Tensor, Pair]:
    """The images for a convolution, and the padding left for it to add: all of it if it is symmetric."""
    left, right, top, bottom = pads
    if left == right and top == bottom:
        return images, (top, left)
    return pad(images, pads), (0, 0)
