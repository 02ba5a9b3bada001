"""Runs of many seeds against runs of many seeds, from their saved logits."""

from __future__ import annotations

import logging
from pathlib import Path

from cifar_imbalance.configuration.fields import EvaluateConfig
from cifar_imbalance.engine.evaluation import new_folder
from cifar_imbalance.evidence.combination import paired
from cifar_imbalance.report.groups import read_result
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.report.seeds import write_seeds_side_by_side
from cifar_imbalance.runs.seeds import runs_of_seeds
from cifar_imbalance.runtimes.environment import environment
from cifar_imbalance.terminal import Terminal

log = logging.getLogger(__name__)


def run_against_seeds(config: EvaluateConfig, path: Path, overrides: list[str]) -> Path:
    """Compare the finished runs in the folder config.ckpt with those in config.reference, over their seeds.

    Raises UsageError if the runs were evaluated on different images or classes.
    """
    assert config.reference is not None  # what brought us here
    with Terminal() as terminal:
        canvas.use(config.plots)
        ours = [read_result(run) for run in runs_of_seeds(config.ckpt, "ckpt")]
        theirs = [read_result(run) for run in runs_of_seeds(config.reference, "reference")]
        fields = ["ckpt"] * len(ours) + ["reference"] * len(theirs)
        results = [*ours, *theirs]
        owners = [f"{field}={result.run.path}" for field, result in zip(fields, results, strict=True)]
        paired([result.predictions for result in results], owners)
        folder = new_folder(path, config, overrides, terminal, environment(None), ("report",))
        text = write_seeds_side_by_side(folder.report, theirs, ours, reference=config.reference, runs=config.ckpt)
        log.info("%s", text)
        log.info("written to: %s", folder.path)
        log.info("page:       %s", folder.page)
        return folder.path
