"""The methods alone, for a training loop of your own: `from cifar_imbalance import library`.

Names and settings are those of the configuration (`python train.py --help`): `library.Loss("ldam", counts,
max_margin=15)` is `loss=ldam loss.ldam.max_margin=15`. A wrong name or value raises UsageError, one line that says what
is allowed. docs/library.md has examples, which the tests run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import ArrayLike, NDArray
from omegaconf import OmegaConf
from torch import Tensor, nn

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration import fields
from cifar_imbalance.configuration.schema import as_dataclass
from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.data.imbalance import subset
from cifar_imbalance.errors import UsageError, choose_from
from cifar_imbalance.evidence.adjustment import Given, fit
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.methods import class_weights as weights_by_name
from cifar_imbalance.methods.losses import LOSSES, NEED_IMAGES, weighted_mean
from cifar_imbalance.methods.samplers import sample
from cifar_imbalance.report.write import write_report

__all__ = ["Augmentation", "ClassSampler", "Loss", "UsageError", "adjustment", "class_weights", "long_tailed", "report"]

Counts = Sequence[int] | NDArray[np.int64]


class Loss(nn.Module):
    """A loss by name, of logits and labels: the mean over the batch, weighted by class."""

    counts: Tensor
    weight: Tensor

    def __init__(self, name: str, counts: Counts, *, weight: Tensor | None = None, **settings: Any) -> None:
        """`counts` [K] are the training images of each class, `weight` [K] the classes' weights (`class_weights`).

        Raises UsageError for an unknown name or setting, or a loss that needs images of every class and lacks some.
        """
        super().__init__()
        self.settings = _settings(fields.Loss, "loss", name, settings)
        of_class = np.asarray(counts)
        if name in NEED_IMAGES and not of_class.all():
            raise UsageError(f"loss={name}: needs images of every class; class {int(of_class.argmin())} has none")
        self.register_buffer("counts", torch.as_tensor(of_class, dtype=torch.float32))
        self.register_buffer("weight", torch.ones(len(of_class)) if weight is None else weight.detach().float())

    def forward(self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        classes = {"counts": self.counts, "weight": self.weight}
        losses = LOSSES[self.settings.name](logits, labels, classes, self.settings)
        return weighted_mean([(losses, self.weight.index_select(0, labels))])


def class_weights(name: str, counts: Counts, **settings: Any) -> Float[Tensor, " classes"]:
    """Weights [K] of mean 1 over the classes that have images: inverse, square_root_inverse, effective_number."""
    found = _settings(fields.ClassWeights, "class_weights", name, settings)
    return torch.from_numpy(weights_by_name.class_weights(np.asarray(counts), found)).float()


class ClassSampler(torch.utils.data.Sampler[int]):
    """Indices of images for a DataLoader: square_root, class_balanced, progressively_balanced.

    Call `set_epoch` before each epoch, from 0.
    """

    def __init__(self, name: str, labels: ArrayLike, *, epochs: int, seed: int = 0, **settings: Any) -> None:
        """`labels` are those of all training images, `epochs` the length of the training, which some laws depend on."""
        self.settings = _settings(fields.Sampler, "sampler", name, settings)
        self.labels, self.epochs, self.seed, self.epoch = np.asarray(labels, dtype=np.int64), epochs, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[int]:
        order = sample(self.labels, self.settings, seed=self.seed, epoch=self.epoch, epochs=self.epochs, batch_size=1)
        return iter(order.ravel().tolist())


def long_tailed(
    labels: ArrayLike, *, factor: float, profile: str = "exponential", subset_seed: int = 0
) -> NDArray[np.int64]:
    """Positions of the images that a long-tailed subset keeps, as LDAM-DRW's code draws them (Cao 2019), sorted."""
    settings = _settings_of(fields.Imbalance, {"profile": profile, "factor": factor, "subset_seed": subset_seed})
    found = np.asarray(labels, dtype=np.int64)
    names = [str(k) for k in range(int(found.max()) + 1)]
    return subset(found, class_names=names, profile=settings.profile, factor=settings.factor, subset_seed=subset_seed)


class Augmentation:
    """A policy for batches of uint8 images: `Augmentation(pad_crop={}, flip={"probability": 0.5})(images)`."""

    def __init__(self, *, height: int, width: int, seed: int = 0, **operators: Mapping[str, Any]) -> None:
        """The operators are applied in the order of the configuration's `augmentation.order`, with these settings."""
        settings = _settings_of(fields.Augmentation, {name: dict(values) for name, values in operators.items()})
        self.policy, self.seed, self.batches = Policy(settings, height=height, width=width), seed, 0

    def __call__(
        self,
        images: UInt8[Tensor, "batch 3 height width"],
        *,
        levels: NDArray[np.int64] | None = None,
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch 3 height width"]:
        """The images, of 0..255, on their device. `cuda` needs the images' `labels` and the classes' `levels`."""
        of_images = np.zeros(len(images), dtype=np.int64) if labels is None else labels.cpu().numpy()
        of_classes = np.zeros(1, dtype=np.int64) if levels is None else levels
        drawn = self.policy.draw(self.seed, self.batches, labels=of_images[None], levels=of_classes)
        self.batches += 1
        draws = {name: values[0] for name, values in drawn.items()}
        if self.policy.on_host:
            pictures = self.policy.prepare(images.permute(0, 2, 3, 1).cpu().numpy(), draws)
            images = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(images.device)
        on_device = self.policy.device_draws(draws)
        tensors = {name: torch.from_numpy(values).to(images.device) for name, values in on_device.items()}
        return self.policy.apply(images.float(), tensors)


def adjustment(
    name: str, *, logits: ArrayLike, labels: ArrayLike, counts: Counts | None = None, **settings: Any
) -> Callable[[ArrayLike], NDArray[np.float32]]:
    """A function of logits [n, K], fitted on the `logits` and `labels` of validation images.

    class_bias, temperature, vector_scaling, and with the training images of each class (`counts`) logit_adjustment.
    """
    if name in ("none", "tau_normalization"):
        raise UsageError(f"adjust={name}: allowed are logit_adjustment, class_bias, temperature, vector_scaling")
    held_out = _predictions(logits, labels, None, counts)
    found = fit(_settings(fields.Adjust, "adjust", name, settings), Given(held_out, held_out.train_images))
    return lambda others: (np.asarray(others, dtype=np.float32) * found.scale + found.bias).astype(np.float32)


def report(
    folder: str | Path,
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    counts: Counts | None = None,
    images: UInt8[np.ndarray, "images height width 3"] | None = None,
) -> dict[str, Any]:
    """The whole report of logits [n, K] in `folder`: tables, plots, report.html. Returns what summary.json has."""
    predictions = _predictions(logits, labels, class_names, counts, images)
    details = {"ckpt": str(folder), "split": "test"}
    return write_report(Path(folder), predictions, [], chosen_epoch=None, details=details, images=images)


def _predictions(
    logits: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str] | None,
    counts: Counts | None,
    images: NDArray[np.uint8] | None = None,
) -> Predictions:
    found = np.asarray(logits, dtype=np.float32)
    indices = np.arange(len(found), dtype=np.int64)
    return Predictions(
        logits=found,
        labels=np.asarray(labels, dtype=np.int64),
        indices=indices,
        hashes=indices.astype(np.uint64) if images is None else image_hashes(images),
        class_names=tuple(class_names or map(str, range(found.shape[1]))),
        train_images=None if counts is None else np.asarray(counts, dtype=np.int64),
    )


def _settings(schema: type, group: str, name: str, settings: Mapping[str, Any]) -> Any:
    """The group's settings with the choice `name`: those of the choice's own block, or of the group itself."""
    known = {field.name for field in dataclass_fields(schema)}
    block = {key: value for key, value in settings.items() if key not in known}
    own = {key: value for key, value in settings.items() if key in known}
    if block and name not in known:
        raise choose_from(group, next(iter(block)), sorted(known - {"name"}))
    return _settings_of(schema, {"name": name, **own, **({name: block} if block else {})})


def _settings_of(schema: type, values: Mapping[str, Any]) -> Any:
    return as_dataclass(schema, OmegaConf.create(dict(values)))
