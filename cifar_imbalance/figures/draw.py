"""Plots of the training images: samples of every class, augmented versions, the number of images of each class."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from cifar_imbalance import keys
from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.fields import FiguresConfig
from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.report.plots.images import class_counts_plot, image_grid_plot
from cifar_imbalance.terminal import Terminal

log = logging.getLogger(__name__)

SEVERAL_OF_EACH_UP_TO = 20  # classes; of more, one image of each
COLUMNS = 10

Images = UInt8[np.ndarray, "images height width 3"]
Grid = UInt8[np.ndarray, "cells height width 3"]


def run_figures(config: FiguresConfig, folder: Path) -> None:
    """Write samples.png, augmented.png and class_counts.png into `folder`.

    Raises UsageError, before the folder is created, if the augmentation does not suit the images.
    """
    with Terminal():
        canvas.use(config.plots)
        data = load_experiment_data(config.dataset)
        train = data.train
        policy = Policy(config.augmentation, height=train.images.shape[1], width=train.images.shape[2])
        for note in data.notes:
            log.info("%s", note)
        folder.mkdir(parents=True, exist_ok=True)
        several = len(train.class_names) <= SEVERAL_OF_EACH_UP_TO
        samples = _samples(train, COLUMNS if several else 1, config.seed)
        source = f"{len(train.labels)} training images of {train.source}"
        cells = [None if position < 0 else train.images[position] for position in samples]
        names = canvas.tick_names(train.class_names)
        if several:
            image_grid_plot(folder / "samples.png", cells, COLUMNS, title=source, row_names=names)
        else:
            image_grid_plot(folder / "samples.png", cells, COLUMNS, title=source, names=names)
        firsts = samples[:: COLUMNS if several else 1]
        firsts = firsts[firsts >= 0]
        shown = firsts[:: max(1, len(firsts) // COLUMNS)][:COLUMNS]
        grid = _augmented(train.images[shown], train.labels[shown], len(train.class_names), policy, config.seed)
        title = f"Original, and nine times with {', '.join(policy.names) or 'no augmentation'}"
        image_grid_plot(
            folder / "augmented.png",
            list(grid),
            COLUMNS,
            title=title,
            row_names=[names[label] for label in train.labels[shown]],
        )
        sets = {"training": train, "test": data.test}
        if data.validation is not None and data.validation is not data.test:
            sets["validation"] = data.validation
        counts = {name: np.bincount(images.labels, minlength=len(train.class_names)) for name, images in sets.items()}
        class_counts_plot(folder / "class_counts.png", counts, train.class_names, title=train.source)
        log.info("written to: %s", folder)


def _samples(images: ImageSet, of_each: int, seed: int) -> np.ndarray:
    """Positions of `of_each` images of every class, class by class; -1 where a class has fewer."""
    chosen: list[int] = []
    for label in range(len(images.class_names)):
        of_class = np.flatnonzero(images.labels == label)
        order = keys.generator(seed, "figures", label).permutation(of_class)
        chosen += [*order[:of_each].tolist(), *[-1] * (of_each - len(order))]
    return np.asarray(chosen)


def _augmented(images: Images, labels: np.ndarray, class_count: int, policy: Policy, seed: int) -> Grid:
    """Each image unchanged and COLUMNS - 1 times augmented with draws from this seed."""
    repeated = np.repeat(images, COLUMNS, axis=0)
    levels = np.zeros(class_count, dtype=np.int64)
    drawn = policy.draw(seed, 0, labels=np.repeat(labels, COLUMNS)[None], levels=levels)
    draws = {name: values[0] for name, values in drawn.items()}
    batch = torch.from_numpy(policy.prepare(repeated, draws)).permute(0, 3, 1, 2).float()
    augmented = policy.apply(batch, {name: torch.from_numpy(v) for name, v in policy.device_draws(draws).items()})
    result = augmented.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    result[::COLUMNS] = images
    return result
