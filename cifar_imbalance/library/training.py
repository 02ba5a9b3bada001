"""What a training loop needs: losses, class weights, samplers, long-tailed subsets, augmentation of batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.augment.strong import HIGHEST_LEVEL
from cifar_imbalance.configuration import fields
from cifar_imbalance.configuration.consistency import ALREADY_CORRECTED, check_augmentation
from cifar_imbalance.configuration.values import Range
from cifar_imbalance.data.imbalance import subset
from cifar_imbalance.errors import UsageError
from cifar_imbalance.library import arguments
from cifar_imbalance.library.arguments import Array
from cifar_imbalance.library.settings import checked, of_choice
from cifar_imbalance.methods import class_weights as weights_by_name
from cifar_imbalance.methods.losses import LOSSES, NEED_IMAGES, weighted_mean
from cifar_imbalance.methods.samplers import sample


class Loss(nn.Module):
    """A loss by name, of logits and labels: the mean over the batch, weighted by class.

    cross_entropy, focal, ldam, balanced_softmax, logit_adjustment, gml.
    """

    counts: Tensor
    weight: Tensor

    def __init__(self, name: str, counts: Array, *, weight: Array | None = None, **settings: Any) -> None:
        """`counts` [K] are the training images of each class, `weight` [K] the classes' weights (`class_weights`).

        Raises UsageError for an unknown name or setting, for a loss that needs images of every class and lacks some,
        and for unequal weights of a loss that corrects for the classes' frequencies itself.
        """
        super().__init__()
        without = ["label_smoothing"] if name == "gml" else []
        self.settings = of_choice(fields.Loss, "loss", name, settings, without=without)
        images = arguments.counts(counts)
        if name in NEED_IMAGES and not images.all():
            raise UsageError(f"loss={name}: needs images of every class; class {int(images.argmin())} has none")
        weights = torch.ones(len(images)) if weight is None else arguments.weight(weight, classes=len(images))
        if name in ALREADY_CORRECTED and weights.unique().numel() > 1:
            raise UsageError(f"weight: corrects twice, since loss={name} {ALREADY_CORRECTED[name]}; leave weight out")
        self.register_buffer("counts", torch.as_tensor(images, dtype=torch.float32))
        self.register_buffer("weight", weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Float[Tensor, ""]:
        """Of logits [batch, K] and labels [batch], whole numbers 0..K-1.

        Raises UsageError for other types, shapes or devices, and on the CPU for labels of no class; on other devices
        these are the device's own error, as in torch's losses. Not finite logits give a loss that is not finite.
        """
        arguments.check_batch(logits, labels, classes=len(self.counts))
        arguments.check_device("logits", logits, self.counts)
        arguments.check_device("labels", labels, self.counts)
        classes, of_images = {"counts": self.counts, "weight": self.weight}, labels.long()
        try:
            losses = LOSSES[self.settings.name](logits, of_images, classes, self.settings)
            return weighted_mean([(losses, self.weight.index_select(0, of_images))])
        except (IndexError, RuntimeError):  # labels are read only after torch has refused them
            arguments.check_classes(labels, classes=len(self.counts))
            raise


def class_weights(name: str, counts: Array, **settings: Any) -> Float[Tensor, " classes"]:
    """Weights [K] of mean 1 over the classes that have images: none, inverse, square_root_inverse, effective_number."""
    found = of_choice(fields.ClassWeights, "class_weights", name, settings, without=["defer"])
    return torch.from_numpy(weights_by_name.class_weights(arguments.counts(counts), found)).float()


class ClassSampler(torch.utils.data.Sampler[int]):
    """Indices of images for a DataLoader: instance, square_root, class_balanced, progressively_balanced.

    Call `set_epoch` before each epoch, from 0; Lightning does so by itself.
    """

    def __init__(self, name: str, labels: Array, *, epochs: int, seed: int = 0, **settings: Any) -> None:
        """`labels` are those of all training images, `epochs` the length of the training, which some laws depend on."""
        without = ["defer"] if name == "instance" else []
        self.settings = of_choice(fields.Sampler, "sampler", name, settings, without=without)
        self.labels = arguments.labels(labels)
        self.epochs, self.seed, self.epoch = arguments.whole("epochs", epochs, Range(1)), arguments.seed(seed), 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = arguments.whole("epoch", epoch, Range(0, self.epochs, high_open=True))

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[int]:
        order = sample(self.labels, self.settings, seed=self.seed, epoch=self.epoch, epochs=self.epochs, batch_size=1)
        return iter(order.ravel().tolist())


def long_tailed(
    labels: Array, *, factor: float, profile: str = "exponential", subset_seed: int = 0
) -> NDArray[np.int64]:
    """Positions of the images that a long-tailed subset keeps, as LDAM-DRW's code draws them (Cao 2019), sorted.

    `labels` [n] of at least two classes, of which 0 is to be the largest; `factor` is the images of the largest class
    over those of the smallest, `profile` exponential or step.
    """
    settings = checked(fields.Imbalance, {"profile": profile, "factor": factor, "subset_seed": subset_seed})
    found = arguments.labels(labels)
    if not found.any():
        raise UsageError("labels are all 0: expected those of two classes or more")
    names = [str(k) for k in range(int(found.max()) + 1)]
    return subset(
        found,
        class_names=names,
        profile=settings.profile,
        factor=settings.factor,
        subset_seed=settings.subset_seed,
    )


class Augmentation:
    """A policy for batches of uint8 images: `Augmentation(height=32, width=32, pad_crop={}, flip={"probability": 1})`.

    flip, rotation, shift, pad_crop, auto_augment, rand_augment, trivial_augment, cuda, cutout, color_jitter.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        seed: int = 0,
        order: Sequence[str] | None = None,
        **operators: Mapping[str, Any],
    ) -> None:
        """The operators with their settings, applied in `order`, by default that of the configuration."""
        for name, values in operators.items():
            if not isinstance(values, Mapping):
                raise UsageError(f"{name}={values}: expected the operator's settings, such as {{}} for its defaults")
        given = {name: dict(values) for name, values in operators.items()}
        settings = checked(fields.Augmentation, {**given, **({} if order is None else {"order": order})})
        check_augmentation(settings)
        side = Range(4, 4096)
        self.height, self.width = arguments.whole("height", height, side), arguments.whole("width", width, side)
        self.policy = Policy(settings, height=self.height, width=self.width)
        self.seed, self.batches = arguments.seed(seed), 0

    def __call__(
        self, images: Tensor, *, labels: Array | None = None, levels: Array | None = None
    ) -> Float[Tensor, "batch 3 height width"]:
        """The augmented images, of 0..255, on the device of `images`, which are uint8 [batch, 3, height, width].

        `cuda`, and it alone, needs the images' `labels` [batch] and a level of 0 to 10 for each class, `levels` [K].
        """
        arguments.check_image_batch(images, height=self.height, width=self.width)
        of_images, of_classes = self._levels(len(images), labels, levels)
        drawn = self.policy.draw(self.seed, self.batches, labels=of_images[None], levels=of_classes)
        self.batches += 1
        draws = {name: values[0] for name, values in drawn.items()}
        if self.policy.on_host:
            pictures = self.policy.prepare(images.permute(0, 2, 3, 1).cpu().numpy(), draws)
            images = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(images.device)
        on_device = self.policy.device_draws(draws)
        tensors = {name: torch.from_numpy(values).to(images.device) for name, values in on_device.items()}
        return self.policy.apply(images.float(), tensors)

    def _levels(
        self, batch: int, labels: Array | None, levels: Array | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The labels [batch] and the classes' levels [K] that the draws depend on; zeros without cuda."""
        given = [name for name, value in (("labels", labels), ("levels", levels)) if value is not None]
        if "cuda" not in self.policy.names:
            if given:
                raise UsageError(f"{given[0]}: has no effect without cuda; leave it out")
            return np.zeros(batch, dtype=np.int64), np.zeros(1, dtype=np.int64)
        if len(given) < 2:
            raise UsageError("cuda: needs the labels of the images and the levels of the classes")
        of_images, of_classes = arguments.labels(labels), arguments.labels(levels, "levels")
        Range(0, HIGHEST_LEVEL).check("levels", int(of_classes.max()))
        if len(of_images) != batch or of_images.max() >= len(of_classes):
            found = f"{len(of_images)}, of 0..{of_images.max()}"
            raise UsageError(f"labels are {found}: expected {batch}, one for each image, of 0..{len(of_classes) - 1}")
        return of_images, of_classes
