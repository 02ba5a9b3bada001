"""Predictions on image files, of a run, an ensemble or a list of runs."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import softmax

from cifar_imbalance import atomic
from cifar_imbalance.configuration.consistency import check_batch_size
from cifar_imbalance.configuration.fields import PredictConfig
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.engine.memory import OF_PREDICTION, out_of_memory_named
from cifar_imbalance.engine.reported import given_for, predict, rebuilt
from cifar_imbalance.engine.step import Network
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.adjustment import fit
from cifar_imbalance.evidence.combination import combine
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.predict.files import image_files, read_files
from cifar_imbalance.report.csv_text import csv_text
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runs.named import runs_to_use
from cifar_imbalance.runtimes.select import make_runtime
from cifar_imbalance.terminal import Terminal

log = logging.getLogger(__name__)

LINES_SHOWN = 20


def shown(file: Path) -> str:
    """The file's name as text; bytes that are no UTF-8 are escaped."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def run_prediction(config: PredictConfig, folder: Path) -> None:
    """Write predictions.csv into `folder`: for each image its most probable classes, and their probabilities.

    Raises UsageError for images that cannot be read, runs of different classes, an adjustment without what it needs.
    """
    with Terminal():
        runtime = make_runtime(config.runtime, deterministic=False)
        check_batch_size("eval_batch_size", config.eval_batch_size, devices=runtime.devices)
        runs = runs_to_use(config.ckpt)
        files = image_files(expanded(config.images, "images"))
        members: list[Predictions] = []
        read: dict[tuple[int, int], ImageSet] = {}
        for run in runs:
            model = rebuilt(run)
            names = tuple(model.class_names)
            if members and names != members[0].class_names:
                raise UsageError(f"ckpt={run.path}: its classes are not those of {runs[0].path}")
            needed = {"eval_batch_size": config.eval_batch_size, "images": f"{config.images} ({len(files)} files)"}
            with out_of_memory_named(runtime, needed, OF_PREDICTION):
                if model.image_size not in read:
                    read[model.image_size] = read_files(files, model.image_size, names)
                    files = [Path(file) for file in read[model.image_size].files or ()]
                # Members may see them at several sizes: what pairs them is the file.
                images = replace(read[model.image_size], hashes=np.arange(len(files), dtype=np.uint64))
                network = Network.on_device(model.built, runtime)
                size = min(config.eval_batch_size, len(files)) if runtime.devices == 1 else config.eval_batch_size
                members.append(predict(network, images, size, train_images=model.train_images, views=config.views))
        held_out = None if config.ensemble.combine != "weighted" else _validation(runs)
        found = combine(members, config.ensemble.combine, validation=held_out)
        if config.adjust.name != "none":
            found = _adjusted(config, runs, found)
        top = min(config.top, len(found.class_names))
        probabilities = softmax(found.logits.astype(np.float64), axis=1)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        lines = [
            [shown(file), *(cell for k in row for cell in (found.class_names[k], f"{probabilities[number, k]:.4f}"))]
            for number, (file, row) in enumerate(zip(files, order, strict=True))
        ]
        header = ["file", *(f"{word}_{place}" for place in range(1, top + 1) for word in ("class", "probability"))]
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_text(folder / "predictions.csv", csv_text(header, lines))
        for name, *cells in lines[:LINES_SHOWN]:
            log.info("%s: %s", name, ", ".join(f"{a} {b}" for a, b in zip(cells[::2], cells[1::2], strict=True)))
        if len(lines) > LINES_SHOWN:
            log.info("... and %d more", len(lines) - LINES_SHOWN)
        log.info("written to: %s", folder / "predictions.csv")


def _validation(runs: list[RunFolder]) -> list[Predictions]:
    return [Predictions.load(run.checked_predictions("validation")) for run in runs]


def _adjusted(config: PredictConfig, runs: list[RunFolder], found: Predictions) -> Predictions:
    """After config.adjust, fitted on the validation images that the runs held out, combined in the same way."""
    validation = None
    if all(run.predictions("validation").is_file() for run in runs):
        held_out = _validation(runs)
        validation = combine(held_out, config.ensemble.combine, validation=held_out)
    return fit(config.adjust, given_for(config.adjust, runs[0], validation, found))(found)
