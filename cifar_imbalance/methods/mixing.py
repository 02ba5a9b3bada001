"""Mixing pairs of images and their labels, looked up by `mixing.name`.

What is mixed is drawn on the host by key and reaches the step as data. One share and one box are drawn for each batch,
as in the methods' own code. An image's label counts with `label_share`, its partner's with 1 - label_share; in epochs
without mixing the share is 1, so that the step stays one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cifar_imbalance.configuration.fields import Mixing

Images = Float[Tensor, "batch 3 height width"]
Draws = dict[str, np.ndarray]
Shares = Float[np.ndarray, " steps"]

PARTNERS_FROM_ALL = ("cmo",)  # partners are drawn from all training images; the others' are of the same batch


def mixup(share: Shares, generator: np.random.Generator, height: int, width: int) -> tuple[Draws, Shares]:
    """share x + (1 - share) x' (Zhang 2018, eq. 2); the labels' share is that of the images."""
    return {"share": share.astype(np.float32)}, share


def cutmix(share: Shares, generator: np.random.Generator, height: int, width: int) -> tuple[Draws, Shares]:
    """A box of the partner's pixels, a part 1 - share of the area before the border clips it (Yun 2019, eq. 2).

    The labels' share is that of the pixels.
    """
    sides = np.sqrt(1.0 - share)
    edges = []
    for length in (height, width):
        center, half = generator.integers(length, size=len(share)), (length * sides).astype(np.int64) // 2
        edges += [np.clip(center - half, 0, length), np.clip(center + half, 0, length)]
    top, bottom, left, right = edges
    box = np.stack(edges, axis=1).astype(np.int32)
    return {"box": box}, 1.0 - (bottom - top) * (right - left) / (height * width)


# How the pixels are mixed; what the methods differ in besides is which partners they draw, and the labels' share.
PIXELS = {"mixup": mixup, "cutmix": cutmix, "remix": mixup, "cmo": cutmix}


def remixed(
    share: Float[np.ndarray, "steps batch"],
    own: Int64[np.ndarray, "steps batch"],
    partners: Int64[np.ndarray, "steps batch"],
    *,
    kappa: float,
    tau: float,
) -> Float[np.ndarray, "steps batch"]:
    """The labels' share of Remix (Chou 2020, eq. 6), by the training images of the image's class and its partner's:

    the rarer class has all of it if the other is `kappa` times as frequent and has less than `tau` of the image.
    """
    ratio = own / partners
    share = np.where((ratio >= kappa) & (share < tau), 0.0, share)
    return np.where((ratio <= 1.0 / kappa) & (1.0 - share < tau), 1.0, share)


def draw(
    settings: Mixing,
    generator: np.random.Generator,
    labels: Int64[np.ndarray, " images"],
    indices: Int64[np.ndarray, "steps batch"],
    *,
    height: int,
    width: int,
    active: bool,
) -> Draws:
    """The draws of an epoch, under keys such as "mixing.share"; nothing is mixed in it unless it is `active`.

    "mixing.partner" [steps, batch] are places in the batch, or of PARTNERS_FROM_ALL indices of training images.
    """
    if settings.name == "none":
        return {}
    steps, batch = indices.shape
    counts = np.asarray(np.bincount(labels))
    block = getattr(settings, settings.name)
    if settings.name in PARTNERS_FROM_ALL:
        of_image = (counts.astype(np.float64) ** -block.power)[labels]
        partner = generator.choice(len(labels), size=(steps, batch), p=of_image / of_image.sum())
        partner_labels = labels[partner]
    else:
        partner = np.argsort(generator.random((steps, batch)), axis=1)
        partner_labels = labels[np.take_along_axis(indices, partner, axis=1)]
    happens = np.asarray((generator.random(steps) < getattr(block, "probability", 1.0)) & active)
    share = np.where(happens, generator.beta(block.alpha, block.alpha, size=steps), 1.0)
    drawn, label_share = PIXELS[settings.name](share, generator, height, width)
    of_images = np.repeat(label_share[:, None], batch, axis=1)
    if settings.name == "remix":
        mixed = remixed(of_images, counts[labels[indices]], counts[partner_labels], kappa=block.kappa, tau=block.tau)
        of_images = np.where(happens[:, None], mixed, 1.0)
    drawn = {name: np.repeat(values[:, None], batch, axis=1) for name, values in drawn.items()}
    drawn |= {"partner": partner.astype(np.int64), "label_share": of_images.astype(np.float32)}
    return {f"mixing.{name}": values for name, values in drawn.items()}


def of_partners(draws: Mapping[str, Any]) -> dict[str, Any]:
    """The draws for partners from all images, under the names that those of the images themselves have."""
    return {name.removeprefix("mixing."): values for name, values in draws.items() if name.startswith("mixing.")}


def _blended(images: Images, partners: Images, draws: Mapping[str, Tensor]) -> Images:
    share = draws["mixing.share"][:, None, None, None]
    return share * images + (1.0 - share) * partners


def _pasted(images: Images, partners: Images, draws: Mapping[str, Tensor]) -> Images:
    height, width = images.shape[2:]
    top, bottom, left, right = draws["mixing.box"].unsqueeze(-1).unbind(1)
    rows, columns = (torch.arange(length, device=images.device) for length in (height, width))
    row_inside = (rows >= top) & (rows < bottom)
    column_inside = (columns >= left) & (columns < right)
    return torch.where((row_inside[:, :, None] & column_inside[:, None, :])[:, None], partners, images)


MIXING: dict[str, Callable[[Images, Images, Mapping[str, Tensor]], Images]] = {
    "none": lambda images, partners, draws: images,
    "mixup": _blended,
    "cutmix": _pasted,
    "remix": _blended,
    "cmo": _pasted,
}
