"""Evaluation after training: of a run's model, a checkpoint, weights from elsewhere, or several runs combined."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance import atomic
from cifar_imbalance.configuration.checks import OTHER_IMAGES
from cifar_imbalance.configuration.consistency import check_batch_size
from cifar_imbalance.configuration.effects import models_run
from cifar_imbalance.configuration.fields import EvaluateConfig
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.engine import checkpoint
from cifar_imbalance.engine.memory import OF_EVALUATION, out_of_memory_named
from cifar_imbalance.engine.other_images import load_other_images, said_of
from cifar_imbalance.engine.recomputed import recompute
from cifar_imbalance.engine.reported import (
    build_evaluated,
    check_classes,
    given_for,
    load_reported,
    predict,
    split_of,
)
from cifar_imbalance.engine.step import Network
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.adjustment import cross_fitted, fit
from cifar_imbalance.evidence.auroc import auroc
from cifar_imbalance.evidence.combination import combine, paired
from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.priors import shifted
from cifar_imbalance.models.build import BuiltModel, build_model
from cifar_imbalance.models.weights import load_weights
from cifar_imbalance.report.ensemble import MemberResults, write_ensemble_report
from cifar_imbalance.report.page.adjustments import adjustment_parts
from cifar_imbalance.report.page.parts import Part
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.report.reference import Reference, differences, read_reference
from cifar_imbalance.report.side_by_side import write_side_by_side
from cifar_imbalance.report.tables import auroc_csv, terminal_table, view_weights_csv
from cifar_imbalance.report.write import write_report
from cifar_imbalance.runs.folder import RunFolder, claim, find_run, reported_epoch
from cifar_imbalance.runtimes.environment import environment
from cifar_imbalance.runtimes.select import make_runtime
from cifar_imbalance.terminal import Terminal

log = logging.getLogger(__name__)


def run_evaluation(config: EvaluateConfig, path: Path, overrides: list[str]) -> Path:
    """Rebuild the model, evaluate it on `config.split`, write predictions and report into the folder `path`,
    or the next free one, which is returned.

    Raises UsageError if the checkpoint, the weights or the images do not match.
    """
    with Terminal() as terminal:
        canvas.use(config.plots)
        runtime = make_runtime(config.runtime, deterministic=config.deterministic)
        check_batch_size("training.eval_batch_size", config.training.eval_batch_size, devices=runtime.devices)
        evaluated = _on_own_images(config) if config.images is None else _on_other_images(config)
        details, batch_size = evaluated.details, config.training.eval_batch_size
        with out_of_memory_named(runtime, {"training.eval_batch_size": batch_size}, OF_EVALUATION):
            network = Network.on_device(evaluated.built, runtime)
            found = {
                split: predict(network, images, batch_size, train_images=evaluated.train_images, views=config.views)
                for split, images in evaluated.splits.items()
            }
            predictions = found[config.split]
        reference = _reference(config, predictions)
        settled = replace(config, runtime=runtime.settled(config.runtime))
        folder = new_folder(path, settled, overrides, terminal, environment(runtime))
        for split, of_split in found.items():
            of_split.save(folder.predictions(split))
        epoch = details.get("chosen_epoch")
        compared, parts = _compared(config, predictions, reference, folder)
        images = evaluated.splits[config.split].images
        summary = write_report(
            folder.report,
            predictions,
            [],
            chosen_epoch=epoch,
            details=details,
            images=images,
            parts=parts,
            below=_adjustments(config, predictions),
        )
        _log_summary(config, details["chosen_by"], predictions, summary, compared, folder)
        return folder.path


def run_combination(config: EvaluateConfig, runs: list[RunFolder], path: Path, overrides: list[str]) -> Path:
    """Combine the logits of several runs on `config.split`: the saved ones, or those of `config.views`.

    Models and images are read only for views and for training images, of which runs save no logits. Raises
    UsageError if the runs were evaluated on different images.
    """
    with Terminal() as terminal:
        canvas.use(config.plots)
        how = config.ensemble.combine
        runtime, computed = None, None
        if models_run(config):
            runtime = make_runtime(config.runtime, deterministic=config.deterministic)
            computed = recompute(config, runs, runtime)
            config = replace(config, runtime=runtime.settled(config.runtime))
        members = MemberResults.read(runs, config.split, how, None if computed is None else computed.predictions)
        combined = combine(members.predictions, how, validation=members.validation)
        changed, record = _adjusted(config, runs[0], members, combined)
        reference = _reference(config, members.predictions[0] if changed is None else changed)
        folder = new_folder(path, config, overrides, terminal, environment(runtime))
        details = {"ckpt": config.ckpt, "split": config.split, **_views(config), "combine": how}
        details |= members.details()
        adjusted = None
        if record is not None and changed is not None:
            details |= {"adjust": config.adjust.name, **record["fitted"], "test_prior": config.test_prior.profile}
            atomic.write_json(folder.report / "adjustment.json", record)
            adjusted = (config.adjust.name, changed)
        answer = combined if adjusted is None else adjusted[1]
        compared, parts = _compared(config, answer, reference, folder)
        if computed is not None and computed.details:
            details |= computed.details
            details.pop("test_set_use")  # of the runs' own test images
        images = None if computed is None else computed.images
        predictions, summary = write_ensemble_report(
            folder.report, members, how, details=details, adjusted=adjusted, images=images, parts=parts
        )
        predictions.save(folder.predictions(config.split))
        if computed is not None and computed.view_weights:
            text = view_weights_csv(members.names, computed.view_weights, computed.views, predictions.class_names)
            atomic.write_text(folder.report / "view_weights.csv", text)
        if config.split == "train" and members.validation is not None:  # by which a student may trust this teacher
            validation = replace(members, predictions=members.validation)
            held_out = combine(members.validation, how, validation=members.validation)
            changed, _ = _adjusted(replace(config, split="validation"), runs[0], validation, held_out)
            (held_out if changed is None else changed).save(folder.predictions("validation"))
        logits = f"views={config.views}" if models_run(config) else "saved logits"
        members_used = f"{len(runs)} members, {how}, {logits}" if len(runs) > 1 else logits
        _log_summary(config, members_used, predictions, summary, compared, folder)
        return folder.path


def _adjusted(
    config: EvaluateConfig, run: RunFolder, members: MemberResults, combined: Predictions
) -> tuple[Predictions | None, dict[str, Any] | None]:
    """The combination after config.adjust and config.test_prior, and what was fitted; None if nothing is changed."""
    settings, prior = config.adjust, config.test_prior
    if settings.name == "none" and prior.profile == "none":
        return None, None
    found, record = combined, dict[str, Any](adjust=settings.name, fitted={})
    if settings.name != "none":
        validation = None
        if members.validation is not None:
            validation = combine(members.validation, config.ensemble.combine, validation=members.validation)
        given = given_for(settings, run, validation, combined)
        adjustment = fit(settings, given)
        if config.split == "validation" and validation is not None:  # as elsewhere, not what it was fitted to
            found = cross_fitted(settings, replace(given, validation=combined))
        else:
            found = adjustment(combined)
        record |= {"fitted": adjustment.fitted, "scale": adjustment.scale.tolist(), "bias": adjustment.bias.tolist()}
        if validation is not None:
            after = cross_fitted(settings, given)
            record |= {"validation_before": _brief(validation), "validation_cross_fitted": _brief(after)}
        record |= {f"{config.split}_before": _brief(combined), f"{config.split}_after": _brief(found)}
        numbers = [f"{name} {value:.4g}" for name, value in adjustment.fitted.items()]
        numbers += [f"bias {adjustment.bias.min():.3f} to {adjustment.bias.max():.3f}"]
        log.info("adjust=%s: %s", settings.name, ", ".join(numbers))
        for name in ("before", "after"):
            results = record[f"{config.split}_{name}"]
            log.info(
                "%s %-6s %s", config.split, name, "  ".join(f"{key} {value:.4f}" for key, value in results.items())
            )
    return shifted(found, prior), record


def _brief(predictions: Predictions) -> dict[str, float]:
    summary = summarize(predictions)
    names = ("accuracy", "macro_f1", "worst_decile_recall", "worst_recall", "loss", "calibration_error")
    return {name: round(summary[name], 4) for name in names}


def _reference(config: EvaluateConfig, predictions: Predictions) -> Reference | None:
    if config.reference is None:
        return None
    reference = read_reference(config.reference, config.split, predictions.class_names)
    if reference.predictions is not None:
        paired([predictions, reference.predictions], ["the run", f"reference={config.reference}"])
    return reference


def new_folder(
    path: Path,
    config: EvaluateConfig,
    overrides: list[str],
    terminal: Terminal,
    here: dict[str, Any],
    parts: Sequence[str] = ("predictions", "report"),
) -> RunFolder:
    """A folder with these `parts` for this evaluation alone, without files of a run or of another evaluation."""
    folder = claim(path, config, overrides, parts)
    terminal.write_log(folder.path / "evaluate.log")
    atomic.write_json(folder.path / "environment.json", here)
    return folder


def _log_summary(
    config: EvaluateConfig,
    how: str,
    predictions: Predictions,
    summary: dict[str, Any],
    compared: str | None,
    folder: RunFolder,
) -> None:
    """Log the table, with config.auroc the areas under the ROC curves, and what was `compared` with a reference."""
    table = terminal_table(class_metrics(predictions), summary, predictions.class_names)
    log.info("%s images, %s\n%s", config.split, how, table)
    if "test_images" in summary:
        log.info("the test images are %s\n", summary["test_images"])
    if config.auroc:
        areas = auroc(predictions)
        atomic.write_text(folder.report / "auroc.csv", auroc_csv(areas, predictions.class_names))
        log.info("macro AUROC %.4f, of each class: %s\n", np.nanmean(areas), folder.report / "auroc.csv")
    if compared is not None:
        log.info("%s\n", compared)
    log.info("written to: %s", folder.path)
    log.info("page:       %s", folder.page)


def _compared(
    config: EvaluateConfig, predictions: Predictions, reference: Reference | None, folder: RunFolder
) -> tuple[str | None, list[Part]]:
    """The comparison with the reference, if one was given, in words and for the page; its files are written."""
    if reference is None:
        return None, []
    paths = [config.ckpt] if isinstance(config.ckpt, str) else config.ckpt
    different = differences(reference, [run for path in paths if (run := find_run(path))], config)
    name = _short_name(config.ckpt)
    return write_side_by_side(folder.report, predictions, reference, run=name, differences=different)


def _short_name(ckpt: Any) -> str:
    """A short name of the evaluated run."""
    return Path(ckpt).name if isinstance(ckpt, str) else f"{len(ckpt)} runs"


@dataclass(frozen=True)
class _Evaluated:
    """A model with its weights, and the images that it is evaluated on."""

    built: BuiltModel
    splits: dict[str, ImageSet]  # config.split, and what else a teacher needs
    details: dict[str, Any]  # for summary.json
    train_images: NDArray[np.int64] | None  # [K], of each class in training; None for weights from elsewhere


def _adjustments(config: EvaluateConfig, predictions: Predictions) -> list[Part]:
    """What adjustments would change, for the page of a finished run's reported epoch on the test images."""
    run = find_run(config.ckpt)
    as_reported = (
        config.split == "test"
        and config.views == "none"
        and config.images is None
        and expanded(config.ckpt, "ckpt").is_dir()
    )
    if run is None or not (run.is_finished and as_reported):
        return []
    file = run.checked_predictions("validation")
    return adjustment_parts([run], Predictions.load(file), predictions) if file.is_file() else []


def _on_own_images(config: EvaluateConfig) -> _Evaluated:
    """On the images of config.dataset, of the run or for a file of weights."""
    data = load_experiment_data(config.dataset)
    splits = {config.split: split_of(data, config.split)}
    if config.split == "train" and data.validation is not None and data.validation is not data.test:
        splits["validation"] = data.validation  # by which a student may trust this teacher
    built, run = build_evaluated(config, data), find_run(config.ckpt)
    path = expanded(config.ckpt, "ckpt")
    if run is None and not checkpoint.is_one(path):
        if load_weights(built.module, path, name=config.model.name, field="ckpt"):
            count = len(data.train.class_names)
            raise UsageError(f"ckpt={config.ckpt}: its head does not have the {count} classes of {config.dataset.name}")
        return _Evaluated(built, splits, {**_details(config), "chosen_by": "a file of weights"}, None)
    state, details = _state(config, run)
    if run is not None:
        hint = f"; {OTHER_IMAGES}" if config.split == "test" else ""
        run.check_images({config.split: data.record()["sha256"][config.split]}, f"ckpt={config.ckpt}", hint)
    check_classes(state, data, f"ckpt={config.ckpt}")
    load_reported(built.module, state, name=config.model.name)
    return _Evaluated(built, splits, details, np.array(state["train_images"]))


def _on_other_images(config: EvaluateConfig) -> _Evaluated:
    """On the images of config.images, of some of the run's classes."""
    run = find_run(config.ckpt)
    assert run is not None  # checked with the command line
    state, details = _state(config, run)
    names = [str(name) for name in state["class_names"]]
    (images,) = load_other_images(config, [(run, names)])
    model = replace(config.model, pretrained=False, weights=None)
    built = build_model(model, class_count=len(names), image_size=run.image_size(), seed=config.seed)
    load_reported(built.module, state, name=config.model.name)
    details |= said_of(config, images, [run])
    return _Evaluated(built, {"test": images}, details, np.array(state["train_images"]))


def _state(config: EvaluateConfig, run: RunFolder | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checkpoint that is evaluated, and its origin for summary.json."""
    path, how = expanded(config.ckpt, "ckpt"), "the checkpoint that was named"
    if run is not None and path.is_dir():
        name, how = reported_epoch(run.read_config())
        path = run.checkpoint(name)
        if not run.is_finished:
            how += " so far: the run is not finished"
    state = checkpoint.load(path)
    return state, {**_details(config), "seed": config.seed, "chosen_epoch": state["epoch"], "chosen_by": how}


def _details(config: EvaluateConfig) -> dict[str, Any]:
    """The first entries of summary.json."""
    details = {"ckpt": config.ckpt, "model": config.model.name, "dataset": config.dataset.name}
    return {**details, "split": config.split, **_views(config)}


def _views(config: EvaluateConfig) -> dict[str, str]:
    """What summary.json says of the views that the logits are of, where they are not of the images alone."""
    if config.views == "none":
        return {}
    return {"views": config.views, "view_weights": config.view_weights}
