"""MLflow: a local database, outputs/mlflow.db, and outputs/mlflow for its files, unless MLFLOW_TRACKING_URI is set."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from cifar_imbalance.trackers.base import OUTPUTS, PROJECT, Table, TrackedRun, Tracker

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # which mlflow reads when it is imported
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

_LONGEST_VALUE = 6000  # characters of a parameter, MLflow's limit
_PARAMS_AT_ONCE = 100
_ID = "cifar_imbalance.run"  # the tag by which a resumed run is found


class MLflow(Tracker):
    def __init__(self, run: TrackedRun) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        address, files = os.environ.get("MLFLOW_TRACKING_URI"), None
        if address is None:
            OUTPUTS.mkdir(exist_ok=True)
            address = f"sqlite:///{OUTPUTS.absolute()}/mlflow.db"
            files = (OUTPUTS.absolute() / "mlflow").as_uri()
        self._client = MlflowClient(address)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name, files) if known is None else known.experiment_id
        found = [one.info.run_id for one in self._client.search_runs([experiment], f"tags.`{_ID}` = '{run.id}'")]
        if run.epochs_done == 0:  # a replay takes the place of what was sent before
            for one in found:
                self._client.delete_run(one)
            found = []
        if found:
            self._run = found[0]
            self._client.update_run(self._run, status="RUNNING")
            return
        tags = {_ID: run.id, "experiment": run.experiment}
        self._run = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        params = [Param(path, str(value)[:_LONGEST_VALUE]) for path, value in run.config.items()]
        for start in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(self._run, params=params[start : start + _PARAMS_AT_ONCE])

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(self._run, [Metric(name, value, now, step) for name, value in metrics.items()])

    def finish(self, summary: Mapping[str, float], classes: Table, figures: Mapping[str, Path]) -> None:
        self.log({f"summary/{name}": value for name, value in summary.items()}, step=0)
        rows = {"columns": list(classes.columns), "data": [list(row) for row in classes.rows]}
        self._client.log_text(self._run, json.dumps(rows), "classes.json")  # as MLflow's tables are
        for file in figures.values():
            self._client.log_artifact(self._run, str(file))

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if finished else "FAILED")
