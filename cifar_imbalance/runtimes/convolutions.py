"""Depthwise convolutions on the CPU whose weight gradient is cheap on small maps.

At 32 px most maps of an EfficientNet are 1 to 4 pixels wide. There oneDNN's weight gradient of a depthwise convolution
takes 4 to 13 ms a layer (batch 32, 240 to 1152 channels, two cores), more than half of a training step. Written as one
product and sum for each tap of the kernel that touches the map, it takes 0.1 to 1.6 ms. Forward and input gradient stay
oneDNN's, so a model's logits are those of the plain convolution bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

SMALL_MAP = 16  # pixels; measured: at 8 x 8 oneDNN is faster, from 4 x 4 down the taps are


def weight_gradient(images: Tensor, gradient: Tensor, *, kernel: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """Gradient [channels, 1, *kernel] of a depthwise kernel at stride 1.

    `images` [batch, channels, height, width] went in, `gradient` [batch, channels, height', width'] came back.
    """
    height, width = images.shape[2:]
    out_height, out_width = gradient.shape[2:]
    # Rows of channels in memory order: [batch, height, width, channels].
    padded = pad(images.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    gradient = gradient.permute(0, 2, 3, 1)
    result = gradient.new_zeros(*kernel, images.shape[1])
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            meets_rows = row < padding[0] + height and row + out_height > padding[0]
            if meets_rows and column < padding[1] + width and column + out_width > padding[1]:
                window = padded[:, row : row + out_height, column : column + out_width]
                result[row, column] = (window * gradient).sum((0, 1, 2))
    return result.permute(2, 0, 1).unsqueeze(1)


class _SmallMapDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(images: Tensor, weight: Tensor, padding: tuple[int, ...]) -> Tensor:
        return conv2d(images, weight, padding=padding, groups=len(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, weight, ctx.padding = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        to_images = to_weight = None
        if ctx.needs_input_grad[0]:
            to_images = torch.ops.aten.convolution_backward(
                gradient, images, weight, None, [1, 1], ctx.padding, [1, 1], False, [0, 0], len(weight),
                [True, False, False],
            )[0]  # fmt: skip
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(images, gradient, kernel=tuple(weight.shape[2:]), padding=ctx.padding)
        return to_images, to_weight, None


def _forward(images: Tensor, weight: Tensor, bias: Tensor | None, *, padding: tuple[int, ...], plain: Any) -> Tensor:
    if images.shape[2] * images.shape[3] > SMALL_MAP or torch.is_autocast_enabled("cpu"):
        return plain(images, weight, bias)
    return _SmallMapDepthwise.apply(images, weight, padding)


def use_small_map_forms(module: nn.Module) -> None:
    """Let the depthwise convolutions of `module` at stride 1 take the form that is faster for the map they get.

    Names, parameters and results of the module stay as they are.
    """
    for part in module.modules():
        if type(part) is nn.Conv2d and part.groups == part.in_channels == part.out_channels and part.groups > 1:
            plain_geometry = part.stride == part.dilation == (1, 1) and part.padding_mode == "zeros"
            if plain_geometry and part.bias is None and not isinstance(part.padding, str):
                plain: Callable[..., Tensor] = partial(conv2d, padding=part.padding, groups=part.groups)
                part._conv_forward = partial(_forward, padding=part.padding, plain=plain)  # type: ignore[method-assign]
