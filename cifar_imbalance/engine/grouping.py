"""A folder of runs as a table: its runs grouped by fields of their configurations."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from cifar_imbalance.configuration.differences import differing_fields
from cifar_imbalance.configuration.fields import Adjust, EvaluateConfig
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.engine.evaluation import new_folder
from cifar_imbalance.engine.reported import given_for
from cifar_imbalance.errors import UsageError, choose_from
from cifar_imbalance.evidence.adjustment import fit
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.groups import Result, grouped, read_result
from cifar_imbalance.report.page.origin import origin_of_runs, origin_of_table
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.report.sweep import write_sweep_report
from cifar_imbalance.runs.adjustable import check_adjustment
from cifar_imbalance.runs.folder import RunFolder, runs_in
from cifar_imbalance.runtimes.environment import environment
from cifar_imbalance.terminal import Terminal

log = logging.getLogger(__name__)

LARGEST_LOGITS = 1 << 30  # bytes of files that are read at the end of a sweep; evaluate.py reads as much as it is told


def run_grouping(config: EvaluateConfig, path: Path, overrides: list[str]) -> Path:
    """Group the finished runs in the folder config.ckpt by config.group_by and report them as a table.

    Raises UsageError if none is finished, for an unknown field or baseline, and for runs on different images.
    """
    with Terminal() as terminal:
        canvas.use(config.plots)
        fields = config.group_by if isinstance(config.group_by, list) else [config.group_by]
        runs = list(runs_in(expanded(config.ckpt, "ckpt")))
        finished = [run for run in runs if run.is_finished]
        if not finished:
            raise UsageError(
                f"ckpt={config.ckpt}: none of the {len(runs)} runs in it is finished (report/summary.json)"
            )
        groups = grouped(finished, fields)
        if config.baseline is not None and config.baseline not in groups:
            raise choose_from("baseline", config.baseline, groups)
        results = _results(groups)
        if config.adjust.name != "none":
            results |= _adjusted_groups(config.adjust, results)
        folder = new_folder(path, config, overrides, terminal, environment(None), ("report",))
        name = " ".join(fields)
        origin = origin_of_table(groups, folder.path)
        text = write_sweep_report(folder.report, results, group_by=name, baseline=config.baseline, origin=origin)
        log.info("%s", text)
        for group, of_group in groups.items():
            configs = [run.read_config() for run in of_group]
            varied = {field for config in configs[1:] for field in differing_fields(configs[0], config)} - {"seed"}
            if varied:
                log.info("the runs of %s differ in more than their seed: %s", group, ", ".join(sorted(varied)))
        if len(finished) < len(runs):
            log.info("not finished, so not in the table: %d of %d runs", len(runs) - len(finished), len(runs))
        log.info("written to: %s", folder.path)
        log.info("page:       %s", folder.page)
        return folder.path


def report_sweep(folder: Path, runs: Sequence[RunFolder], fields: Sequence[str], command: str) -> list[str]:
    """Write the table of a sweep's finished `runs`, grouped by `fields`, into its `folder`; returns the groups' names.

    `command` is that of the sweep. Raises UsageError for runs on different images, for too many groups, and where their
    saved logits are too large to be read together without being asked.
    """
    files = [run.predictions("test") for run in runs]
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size > LARGEST_LOGITS:
        raise UsageError(f"the saved logits of its {len(runs)} runs have {size / 2**30:.1f} GiB")
    canvas.use(runs[0].read_config().plots)
    groups = grouped(runs, fields)
    comment = "# goes on with the sweep, or, with another hydra.sweep.dir=FOLDER, makes it again"
    origin = origin_of_runs(groups, again=f"{comment}\n{command}")
    name = " ".join(fields)
    write_sweep_report(folder / "report", _results(groups), group_by=name, baseline=None, origin=origin)
    return list(groups)


def _results(groups: Mapping[str, Sequence[RunFolder]]) -> dict[str, list[Result]]:
    return {name: [read_result(run) for run in of_group] for name, of_group in groups.items()}


def _adjusted_groups(adjust: Adjust, groups: Mapping[str, Sequence[Result]]) -> dict[str, list[Result]]:
    """The groups once more, each run's logits adjusted. Those of which a run does not allow it are logged and left out.

    Raises UsageError if that is all of them.
    """
    found: dict[str, list[Result]] = {}
    reason = None
    for name, group in groups.items():
        try:
            for result in group:
                check_adjustment(adjust, result.run)
            found[f"{name}, {adjust.name}"] = [_adjusted_result(adjust, result) for result in group]
        except UsageError as error:
            reason = error
            log.info("left out: %s, %s (%s)", name, adjust.name, error)
    if not found and reason is not None:
        raise reason
    return found


def _adjusted_result(adjust: Adjust, result: Result) -> Result:
    file = result.run.checked_predictions("validation")
    validation = Predictions.load(file) if file.is_file() else None
    adjustment = fit(adjust, given_for(adjust, result.run, validation, result.predictions))
    return result.changed(adjustment(result.predictions), adjustment.fitted)
