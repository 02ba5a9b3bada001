"""An export: the model is written, read back by the other library, and compared with what it was."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from cifar_imbalance import atomic, keys
from cifar_imbalance.configuration.fields import ExportConfig
from cifar_imbalance.engine.reported import rebuilt
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.export.deployed import Deployed
from cifar_imbalance.export.formats import FORMATS
from cifar_imbalance.models.build import is_ours
from cifar_imbalance.runs.named import single_run
from cifar_imbalance.terminal import Terminal

log = logging.getLogger(__name__)

BATCHES = (1, 8)  # images, of noise
LARGEST_DIFFERENCE = 1e-3  # of logits


def run_export(config: ExportConfig, folder: Path) -> None:
    """Write the model that the run config.ckpt reports, and classes.json, into `folder`.

    Raises UsageError for a model that this format cannot hold, TrainingFailed if what is read back differs.
    """
    with Terminal():
        reported = rebuilt(single_run(config.ckpt))
        settings = reported.settings
        if config.format == "timm" and (settings.cosine_scale is not None or settings.class_factors):
            raise UsageError(
                "format=timm: timm has no such head (model.cosine_scale, model.class_factors); allowed are torch, onnx"
            )
        if config.format == "timm" and is_ours(settings.name):
            raise UsageError(f"format=timm: timm alone has no {settings.name}; allowed are torch, onnx")
        folder.mkdir(parents=True, exist_ok=True)
        read = FORMATS[config.format](reported, folder)
        atomic.write_json(folder / "classes.json", reported.class_names)
        generator, own, differences = keys.generator(0, "export"), Deployed(reported.built).eval(), []
        for count in BATCHES:
            images = torch.from_numpy(generator.random((count, 3, *reported.image_size), dtype=np.float32))
            with torch.no_grad():
                differences.append(float((read(images) - own(images)).abs().max()))
        shown = ", ".join(f"{difference:.1e}" for difference in differences)
        log.info("largest difference of logits, read back, 1 and 8 images of noise: %s", shown)
        if not max(differences) < LARGEST_DIFFERENCE:
            raise TrainingFailed(f"format={config.format}: {folder} does not give the model's logits ({shown})")
        height, width = reported.image_size
        log.info("input: images of %d x %d, red, green, blue, values 0 to 1", height, width)
        log.info("written to: %s", folder)
