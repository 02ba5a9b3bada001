"""An augmentation policy: which operators, in which order, and the draws of an epoch.

The draws are made on the host by key and reach the step as data. Each operator has its own key, so adding one does not
change what the others draw.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from cifar_imbalance import keys
from cifar_imbalance.augment import color_jitter, cutout, flip, pad_crop, rotation, shift, strong
from cifar_imbalance.augment.operator import Drawn, Draws, Images, Tensors
from cifar_imbalance.configuration import fields

OPERATORS = {
    "flip": flip.OPERATOR,
    "rotation": rotation.OPERATOR,
    "shift": shift.OPERATOR,
    "pad_crop": pad_crop.OPERATOR,
    **strong.OPERATORS,
    "cutout": cutout.OPERATOR,
    "color_jitter": color_jitter.OPERATOR,
}


class Policy:
    """The operators that `augmentation` enables, for images of `height` x `width` pixels.

    Raises UsageError where an operator's settings do not suit images of this size.
    """

    def __init__(self, augmentation: fields.Augmentation, *, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.names = [name for name in augmentation.order if getattr(augmentation, name) is not None]
        self.settings = {name: getattr(augmentation, name) for name in self.names}
        last = max((place for place, name in enumerate(self.names) if OPERATORS[name].on_host), default=-1)
        self.on_host, self.on_device = self.names[: last + 1], self.names[last + 1 :]
        for name in self.names:
            check = OPERATORS[name].check
            if check is not None:
                check(self.settings[name], height, width)

    def draw(
        self,
        seed: int,
        epoch: int,
        *,
        labels: Int64[np.ndarray, "steps batch"],
        levels: Int64[np.ndarray, " classes"],
        purpose: str = "augmentation",
    ) -> Draws:
        """An epoch's draws on the host, each [steps, batch, ...], under keys such as "flip.flipped".

        `labels` are the labels of the epoch's images in order, `levels` the augmentation strength of each class;
        `purpose` is part of the key.
        """
        images = Drawn(labels, levels, self.height, self.width)
        draws: Draws = {}
        for name in self.names:
            generator = keys.generator(seed, f"{purpose}.{name}", epoch)
            draws |= OPERATORS[name].draw(generator, self.settings[name], images)
        return draws

    def device_draws(self, draws: Draws) -> Draws:
        """The draws that the step needs: not those of operators that run on the host."""
        return {k: v for k, v in draws.items() if k.removeprefix("mixing.").partition(".")[0] not in self.on_host}

    def prepare(self, images: UInt8[np.ndarray, "batch height width 3"], draws: Draws) -> np.ndarray:
        """The images, uint8, after the operators up to the last that runs on the host, with the draws of one step."""
        for name in self.on_host:
            operator, settings = OPERATORS[name], self.settings[name]
            if operator.on_host:
                images = operator.apply(images, draws, settings)
                continue
            tensors = {k: torch.from_numpy(v) for k, v in draws.items() if k.startswith(f"{name}.")}
            batch = operator.apply(torch.from_numpy(images).permute(0, 3, 1, 2).float(), tensors, settings)
            images = batch.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return images

    def apply(self, images: Images, draws: Tensors) -> Images:
        """The images after the other operators in order, with the draws of one step, each [batch, ...]. Pure."""
        for name in self.on_device:
            images = OPERATORS[name].apply(images, draws, self.settings[name])
        return images
