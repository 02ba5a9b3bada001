"""trackio: a local database in outputs/trackio, unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cifar_imbalance.trackers.base import OUTPUTS, PROJECT, Table, TrackedRun, Tracker

os.environ.setdefault("TRACKIO_DIR", str(OUTPUTS.absolute() / "trackio"))  # which trackio reads when it is imported
import trackio


class Trackio(Tracker):
    def __init__(self, run: TrackedRun) -> None:
        name = f"{run.name}_{run.id[:6]}"  # trackio finds a run by its name, and folders in two places may have one
        again = run.epochs_done == 0
        if again:
            with suppress(ValueError):  # there is no local database yet
                for earlier in list(trackio.Api().runs(PROJECT)):
                    if earlier.name == name:
                        earlier.delete()
        self._run = trackio.init(
            project=PROJECT,
            name=name,
            group=run.experiment,
            config=dict(run.config),
            resume="never" if again else "allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        self._step = run.epochs_done

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._step = step
        trackio.log(dict(metrics), step=step)

    def finish(self, summary: Mapping[str, float], classes: Table, figures: Mapping[str, Path]) -> None:
        table = trackio.Table(columns=list(classes.columns), data=[list(row) for row in classes.rows])
        images = {name: trackio.Image(str(file)) for name, file in figures.items()}
        numbers = {f"summary/{name}": value for name, value in summary.items()}
        trackio.log({**numbers, "classes": table, **images}, step=max(1, self._step))

    def close(self, *, finished: bool) -> None:
        trackio.finish()
