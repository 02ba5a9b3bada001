"""Test images that are not a run's own, in class folders: the run's images are not read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cifar_imbalance.configuration.fields import EvaluateConfig
from cifar_imbalance.data.image_sets import ImageSet, load_test_folders
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.terminal import count_of_classes

log = logging.getLogger(__name__)

CLASSES_NAMED = 20


def load_other_images(config: EvaluateConfig, runs: Sequence[tuple[RunFolder, Sequence[str]]]) -> list[ImageSet]:
    """The images of config.images for each run, given with its classes, at the size of the run's own.

    Their hashes are those at the first run's size, by which logits of several runs are paired. Raises UsageError if the
    classes of the runs differ, and for a folder that load_test_folders refuses.
    """
    first, names = runs[0]
    found: dict[tuple[int, int], ImageSet] = {}
    for run, classes in runs:
        if list(classes) != list(names):
            raise UsageError(f"ckpt={run.path}: its classes are not those of {first.path}")
        size = run.image_size()
        if size not in found:
            cache = config.dataset.cache_dir
            found[size], notes = load_test_folders(str(config.images), names, size, cache_dir=cache, owner="images")
            for note in notes if len(found) == 1 else ():
                log.info("images=%s: %s", config.images, note)
    of_first = found[first.image_size()]
    return [replace(found[run.image_size()], hashes=of_first.hashes) for run, _ in runs]


def said_of(config: EvaluateConfig, images: ImageSet, runs: Sequence[RunFolder]) -> dict[str, Any]:
    """What summary.json says of the `images` of config.images: which they are, and how many are the `runs`' own.

    `images` are at the size of the first run's. Training images are not compared: a run saves no hashes of them.
    """
    counts = images.class_counts
    present = int((counts > 0).sum())
    absent = [name for name, count in zip(images.class_names, counts, strict=True) if not count]
    text = f"{len(images.labels)} images of {present} of the run's {count_of_classes(len(counts))}, {images.source}"
    if absent:
        listed = ", ".join(absent[:CLASSES_NAMED]) + (", ..." if len(absent) > CLASSES_NAMED else "")
        text += (
            f"; classes without images are left out of all means: {listed}; "
            "precision and F1 depend on which classes have images"
        )
    own = {split: _among(images, runs, split) for split in ("test", "validation")}
    for split, count in own.items():
        if count:
            text += f"; {count} of the images {'is' if count == 1 else 'are'} among the {split} images of the run"
    which = "the run's own" if own["test"] == len(images.labels) else "other than the run's"
    return {"images": config.images, "test_images": f"{which}: {text}", "images_of_the_run": own}


def _among(images: ImageSet, runs: Sequence[RunFolder], split: str) -> int:
    """How many of the images are pixel for pixel among those of which a run saved logits."""
    hashes = [
        Predictions.load(run.checked_predictions(split)).hashes for run in runs if run.predictions(split).is_file()
    ]
    return int(np.isin(images.hashes, np.concatenate(hashes)).sum()) if hashes else 0
