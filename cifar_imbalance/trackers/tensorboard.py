"""TensorBoard, through torch: events in the run's own folder, which `tensorboard --logdir outputs` shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from cifar_imbalance.trackers.base import Table, TrackedRun, Tracker


class TensorBoard(Tracker):
    def __init__(self, run: TrackedRun) -> None:
        folder = run.folder / "tensorboard"
        if run.epochs_done == 0:
            for earlier in folder.glob("events.out.tfevents.*"):
                earlier.unlink()
        # What an earlier process wrote of the epochs that are now repeated is hidden.
        self._writer = SummaryWriter(str(folder), purge_step=run.epochs_done + 1)
        self._step = run.epochs_done
        if run.epochs_done == 0:
            self._writer.add_text("config", _fenced(json.dumps(run.config, indent=2)), 1)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._step = step
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, summary: Mapping[str, float], classes: Table, figures: Mapping[str, Path]) -> None:
        step = max(1, self._step)
        for name, value in summary.items():
            self._writer.add_scalar(f"summary/{name}", value, step)
        lines = [classes.columns, ["-"] * len(classes.columns), *classes.rows]
        self._writer.add_text("classes", "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines), step)
        for name, file in figures.items():
            with Image.open(file) as image:
                self._writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self, *, finished: bool) -> None:
        self._writer.close()


def _fenced(text: str) -> str:
    return f"```\n{text}\n```"
