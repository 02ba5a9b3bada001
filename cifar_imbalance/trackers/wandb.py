"""Weights & Biases: offline in outputs/wandb, to be sent by `wandb sync`, unless WANDB_MODE=online."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import wandb

from cifar_imbalance.trackers.base import OUTPUTS, PROJECT, Table, TrackedRun, Tracker


class WeightsAndBiases(Tracker):
    def __init__(self, run: TrackedRun) -> None:
        OUTPUTS.mkdir(exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=run.experiment,
            name=run.name,
            id=run.id,
            resume="allow",
            config=dict(run.config),
            dir=os.environ.get("WANDB_DIR", str(OUTPUTS)),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
        if run.epochs_done == 0:  # a run of that id which is sent to the service already keeps its steps
            own = Path(self._run.settings.sync_dir)
            for earlier in own.parent.glob(f"offline-run-*-{run.id}"):
                if earlier.name != own.name:
                    shutil.rmtree(earlier)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def finish(self, summary: Mapping[str, float], classes: Table, figures: Mapping[str, Path]) -> None:
        self._run.summary.update(dict(summary))
        table = wandb.Table(columns=list(classes.columns), data=[list(row) for row in classes.rows])
        self._run.log({"classes": table, **{name: wandb.Image(str(file)) for name, file in figures.items()}})

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
