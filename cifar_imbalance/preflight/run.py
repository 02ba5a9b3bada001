"""A pre-flight from its checked configuration to preflight.json and preflight.txt."""

from __future__ import annotations

import logging
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cifar_imbalance import atomic
from cifar_imbalance.configuration.fields import Preflighting, TrainConfig
from cifar_imbalance.configuration.tpus import Topology
from cifar_imbalance.errors import TrainingFailed
from cifar_imbalance.preflight.cache import PACKAGES
from cifar_imbalance.preflight.largest_batch import LargestBatch, largest_batch
from cifar_imbalance.preflight.report import preflight_text, too_large
from cifar_imbalance.preflight.roofline import Roofline, duration
from cifar_imbalance.preflight.steps import STAND_INS, KnownStep, Steps
from cifar_imbalance.preflight.trace import EVALUATION, TRAINING, epochs_of
from cifar_imbalance.runtimes.environment import environment
from cifar_imbalance.terminal import Terminal

log = logging.getLogger(__name__)


def run_preflight(config: Preflighting, experiment: TrainConfig, folder: Path, overrides: list[str]) -> None:
    """Compile the experiment's steps, print what is known of them then, and write it into `folder`.

    Raises UsageError, before anything is compiled, if the experiment does not suit its images or its model, and
    TrainingFailed, after the report, if a step does not compile or does not fit.
    """
    with Terminal() as terminal, TemporaryDirectory() as scratch:
        results = _results(config, experiment, Steps(config, experiment, Path(scratch)))
        text = preflight_text(results)
        folder.mkdir(parents=True, exist_ok=True)
        here = environment(None)
        here["versions"] |= {name: version(name) for name in PACKAGES}
        atomic.write_json(folder / "preflight.json", {**results, "overrides": overrides, "environment": here})
        atomic.write_text(folder / "preflight.txt", text)
        terminal.console.print(text, markup=False, highlight=False, soft_wrap=True)
        log.info("written to: %s", folder)
    for kind, step in results["steps"].items():
        if step["reason"] is not None:
            raise TrainingFailed(f"the {kind} step does not compile for {config.topology}: {step['reason']}")
    for kind, why in too_large(results).items():
        raise TrainingFailed(f"the {kind} step does not fit on {config.topology}: {why}")


def _results(config: Preflighting, experiment: TrainConfig, steps: Steps) -> dict[str, Any]:
    """The content of preflight.json."""
    topology, training = Topology(config.topology), experiment.training
    sizes = {**dict.fromkeys(epochs_of(experiment), training.batch_size), EVALUATION: training.eval_batch_size}
    steps.trace(sizes.items())
    counts = steps.described["steps"]
    known = {kind: steps.known(kind, size) for kind, size in sizes.items()}
    found = {kind: _step(one, sizes[kind], counts[kind], topology) for kind, one in known.items()}
    largest = _largest(steps, topology, training.batch_size) if config.largest_batch and TRAINING in found else None
    removed = max(one.removed_blocks for one in known.values())
    return {
        "experiment": experiment.experiment,
        "topology": topology.name,
        "cores": topology.cores,
        "core": {
            "hbm_bytes": topology.chip.core_hbm_bytes,
            "flops_per_second": topology.chip.core_flops_per_second,
            "hbm_bytes_per_second": topology.chip.core_hbm_bytes_per_second,
        },
        "model": experiment.model.name,
        "members": experiment.ensemble.members,
        "stacked": experiment.ensemble.together == "stacked",
        "controller": experiment.controller.name,
        "precision": experiment.runtime.precision,
        **{name: steps.described[name] for name in ("parameters", "input_size", "train_images")},
        "stand_in": {"kept_blocks": list(STAND_INS), "removed_blocks": removed} if config.stand_in else None,
        "steps": found,
        "largest_batch": None if largest is None else asdict(largest),
        "duration_seconds": _duration(counts, {kind: one.get("roofline_seconds") for kind, one in found.items()}),
        "estimated_seconds": _duration(counts, {kind: one.get("estimated_seconds") for kind, one in found.items()}),
    }


def _step(known: KnownStep, batch_size: int, count: int, topology: Topology) -> dict[str, Any]:
    found: dict[str, Any] = {
        "batch_size": batch_size,
        "steps": count,
        "reason": known.reason,
        "compile_seconds": round(known.compile_seconds, 1),
    }
    if known.step is None:
        return found
    roofline = Roofline.of(topology.chip, flops=known.step.flops, hbm_bytes=known.step.hbm_bytes)
    hertz = topology.chip.hertz
    return {
        **found,
        **asdict(known.step),
        "beside_bytes": known.beside_bytes,
        "memory_bytes": known.memory_bytes,
        "roofline_seconds": roofline.seconds,
        **asdict(roofline),
        "images_per_second": roofline.images_per_second(batch_size),
        "estimated_seconds": None if hertz is None else known.step.estimated_cycles / hertz,
    }


def _largest(steps: Steps, topology: Topology, first: int) -> LargestBatch:
    return largest_batch(
        lambda size: steps.known(TRAINING, size).memory_bytes,
        first=first,
        multiple=topology.cores,
        most=steps.described["train_images"],
        capacity=topology.chip.core_hbm_bytes,
    )


def _duration(counts: dict[str, int], seconds: dict[str, float | None]) -> float | None:
    """Of the whole experiment; None if the time of a step is not known."""
    known = {kind: value for kind, value in seconds.items() if value is not None}
    return duration(counts, known) if len(known) == len(seconds) else None
