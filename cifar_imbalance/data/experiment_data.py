"""The images of an experiment: its training, validation and test sets, and their record for data.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_imbalance.configuration.effects import divides_itself
from cifar_imbalance.configuration.fields import Dataset
from cifar_imbalance.data import imbalance, splits
from cifar_imbalance.data.copies import notes_on_copies
from cifar_imbalance.data.identity import sha256
from cifar_imbalance.data.image_sets import IMAGE_SETS, ImageSet


@dataclass(frozen=True)
class ExperimentData:
    """The three sets, and `choices`: the configuration values that they result from."""

    train: ImageSet
    validation: ImageSet | None  # the same object as `test` if dataset.validation is test
    test: ImageSet
    notes: list[str]
    choices: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """The content of data.json. The SHA-256 of a set is over its images, then its labels, in order.

        It takes about a second for 2 GB of images (0.1 s for CIFAR's 60,000).
        """
        sets = {"train": self.train, "test": self.test}
        if self.validation is not None and self.validation is not self.test:
            sets["validation"] = self.validation
        counts: dict[str, Any] = {name: images.class_counts.tolist() for name, images in sets.items()}
        hashes: dict[str, Any] = {name: sha256(images.images, images.labels) for name, images in sets.items()}
        order = ("train", "validation", "test")
        return {
            "source": self.train.source,
            "image_shape": list(self.train.images.shape[1:]),
            "class_names": list(self.train.class_names),
            "counts": {name: counts.get(name) for name in order},
            "sha256": {name: hashes.get(name) for name in order},
            "train_indices_sha256": sha256(self.train.indices),
            **self.choices,
            "notes": self.notes,
        }

    def train_images_csv(self) -> str:
        """Which images are trained on: their numbers from 0 in the data set's own order, and their classes' numbers.

        `train_indices_sha256` in the record is of the first column, as little-endian int64.
        """
        rows = zip(self.train.indices.tolist(), self.train.labels.tolist(), strict=True)
        return "index,class\n" + "".join(f"{index},{label}\n" for index, label in rows)


def load_experiment_data(dataset: Dataset) -> ExperimentData:
    """The images that `dataset` describes: validation images are held out first, then the rest is subsampled to a
    long tail, and of that one fold is left out.

    Raises UsageError if a value or a file is unsuitable.
    """
    whole, test, notes = IMAGE_SETS[dataset.name](dataset)
    train = np.arange(len(whole.labels), dtype=np.int64)
    validation = test if dataset.validation == "test" else None
    if dataset.validation == "holdout":
        train, validation_indices = splits.holdout(
            whole.labels,
            class_count=len(whole.class_names),
            fraction=dataset.holdout_fraction,
            balance=dataset.holdout_balance,
            seed=dataset.split_seed,
            class_names=whole.class_names,
        )
        validation = whole.take(validation_indices)
    tail = dataset.imbalance
    kept = imbalance.subset(
        whole.labels[train],
        class_names=whole.class_names,
        profile=tail.profile,
        factor=tail.factor,
        subset_seed=tail.subset_seed,
    )
    if tail.profile != "none":
        notes = [*notes, *_imbalance_notes(whole, train, tail.profile)]
    train = train[kept]
    if dataset.folds is not None:
        train = train[
            splits.without_fold(
                whole.labels[train],
                folds=dataset.folds,
                fold=dataset.without_fold or 0,
                seed=dataset.split_seed,
                class_names=whole.class_names,
            )
        ]
    divided = divides_itself(dataset)
    choices = {
        "test_fraction": dataset.test_fraction if divided else None,
        "test_seed": dataset.test_seed if divided else None,
        "validation": dataset.validation,
        "holdout_fraction": dataset.holdout_fraction,
        "holdout_balance": dataset.holdout_balance,
        "split_seed": dataset.split_seed,
        "folds": dataset.folds,
        "without_fold": dataset.without_fold,
        "imbalance": {"profile": tail.profile, "factor": tail.factor, "subset_seed": tail.subset_seed},
    }
    # a complete set stays memory-mapped
    chosen = whole if len(train) == len(whole.labels) else whole.take(train)
    copies = notes_on_copies(chosen, test, None if validation is test else validation)
    return ExperimentData(chosen, validation, test, [*notes, *copies], choices)


def _imbalance_notes(whole: ImageSet, train: np.ndarray, profile: str) -> list[str]:
    available = np.bincount(whole.labels[train], minlength=len(whole.class_names))
    if available.min() == available.max():
        return []
    return [
        f"classes have {available.min()} to {available.max()} training images: dataset.imbalance.profile={profile} "
        f"is relative to the largest class, and a class with fewer images than its target count keeps them all"
    ]
