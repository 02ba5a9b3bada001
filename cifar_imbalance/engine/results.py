"""The end of training: evaluation of the reported epoch on the test images, combination of members, and the report."""

from __future__ import annotations

import logging
from typing import Any

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.typed import as_typed
from cifar_imbalance.data.experiment_data import ExperimentData
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.reported import load_reported, predict
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.evidence.combination import combine
from cifar_imbalance.evidence.metrics import class_metrics
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.ensemble import MemberResults, write_ensemble_report
from cifar_imbalance.report.page.adjustments import adjustment_parts
from cifar_imbalance.report.tables import terminal_table
from cifar_imbalance.report.write import write_report
from cifar_imbalance.runs.folder import RunFolder, history_sha256, reported_epoch

log = logging.getLogger(__name__)


def report_run(loop: Loop, data: ExperimentData) -> None:
    """Evaluate the reported epoch on the test images, once, and write its predictions and its report.

    Raises TrainingFailed if there is no best epoch.
    """
    config, folder = loop.config, loop.folder
    name, how = reported_epoch(config)
    if name == "best" and loop.best is None:
        raise TrainingFailed(f"there is no best epoch: the {loop.evaluated_on} logits were not finite after any epoch")
    state = checkpoint.load(folder.checkpoint(name))
    if name == "best" and loop.best is not None and state["epoch"] != loop.best["epoch"]:
        epochs = f"of epoch {state['epoch']}, the best one is {loop.best['epoch']}"
        raise UsageError(f"{folder.checkpoint(name)}: it is {epochs}")
    load_reported(loop.network.module, state, name=config.model.name, load=loop.runtime.load_weights)
    sets = {"test": data.test}
    if data.validation is not None and data.validation is not data.test:
        sets["validation"] = data.validation
    batch_size, counts = config.training.eval_batch_size, data.train.class_counts
    predictions = {
        split: predict(loop.network, images, batch_size, train_images=counts) for split, images in sets.items()
    }
    if loop.runtime.process > 0:  # the first process reports
        return
    for split, values in predictions.items():
        values.save(folder.predictions(split))
    details = {
        **_details(config),
        "train_images": len(data.train.labels),
        "chosen_epoch": state["epoch"],
        "chosen_by": how,
        "test_set_use": _use_of_test_images(config),
        "predictions_sha256": folder.predictions_sha256(),
        "history_sha256": history_sha256(loop.history),
    }
    summary = write_report(
        folder.report,
        predictions["test"],
        loop.history,
        chosen_epoch=state["epoch"],
        details=details,
        recalls=loop.recalls,
        images=data.test.images,
        below=adjustment_parts([folder], predictions.get("validation"), predictions["test"]),
        class_values=None if (value := loop.controller.changes) is None else (value, loop.class_values),
    )
    description = f"epoch {state['epoch']} ({how})"
    _log_summary(description, predictions["test"], summary, folder)


def report_ensemble(config: TrainConfig, folder: RunFolder, data: ExperimentData, *, wall_seconds: int | None) -> None:
    """Combine the members and report. `wall_seconds` of training all members, None if the run was resumed."""
    how = config.ensemble.combine
    members = MemberResults.read(folder.members(config), "test", how)
    details: dict[str, Any] = {
        "experiment": config.experiment,
        "split": "test",
        "combine": how,
        "wall_seconds": wall_seconds,
    }
    details |= members.details()
    combined = {"test": members.predictions, "validation": members.validation}
    for split, members_predictions in combined.items():
        if members_predictions is not None:
            combine(members_predictions, how, validation=members.validation).save(folder.predictions(split))
    details["predictions_sha256"] = folder.predictions_sha256()
    # Last: the summary marks the run as finished.
    predictions, summary = write_ensemble_report(folder.report, members, how, details=details, images=data.test.images)
    description = f"{config.ensemble.members} members, {how}"
    _log_summary(description, predictions, summary, folder)


def model_names(config: TrainConfig) -> str:
    return ", ".join(config.ensemble.models) or config.model.name


def _details(config: TrainConfig) -> dict[str, Any]:
    """The first entries of summary.json."""
    weights = config.model.weights or ("hub" if config.model.pretrained else "none")
    parent = {"weights": weights} if config.start is None else {"weights": "start", "start": config.start}
    if config.teacher is not None:
        parent["teacher"] = config.teacher
    return {
        "experiment": config.experiment,
        "seed": config.seed,
        "dataset": config.dataset.name,
        "model": model_names(config),
        **parent,
        "split": "test",
        "epochs": config.training.epochs,
    }


def _use_of_test_images(config: TrainConfig) -> str:
    if config.dataset.validation == "test":
        return "after every epoch (dataset.validation=test)"
    return "once, at the end"


def _log_summary(how: str, predictions: Predictions, summary: dict[str, Any], folder: RunFolder) -> None:
    """Log the table of the classes, where the results are, and the next command."""
    table = terminal_table(class_metrics(predictions), summary, predictions.class_names)
    log.info("\ntest images, %s\n%s", how, table)
    log.info("run folder: %s", folder.path)
    log.info("page:       %s", folder.page)
    log.info("next:       %s %s", command("evaluate"), as_typed("ckpt", str(folder.path)))
