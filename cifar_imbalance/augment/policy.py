"""An augmentation policy: which operators, in which order, and the draws of an epoch.

The draws are made on the host by key and reach the step as data. Each operator has its own key, so adding one does not
change what the others draw.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from cifar_imbalance import keys
from cifar_imbalance.augment import color_jitter, cutout, flip, pad_crop, rotation, shift
from cifar_imbalance.augment.operator import Drawn, Draws, Images, Tensors
from cifar_imbalance.configuration import fields

OPERATORS = {
    "flip": flip.OPERATOR,
    "rotation": rotation.OPERATOR,
    "shift": shift.OPERATOR,
    "pad_crop": pad_crop.OPERATOR,
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

    def apply(self, images: Images, draws: Tensors) -> Images:
        """The images after every operator in order, with the draws of one step, each [batch, ...]. Pure."""
        for name in self.names:
            images = OPERATORS[name].apply(images, draws, self.settings[name])
        return images
