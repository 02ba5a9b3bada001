"""A benchmark from its checked configuration to benchmark.json and benchmark.png."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from cifar_imbalance import atomic
from cifar_imbalance.benchmark.measure import Measured, measure, with_compile
from cifar_imbalance.benchmark.operators import operator_times
from cifar_imbalance.benchmark.report import benchmark_plot, benchmark_table, operator_table
from cifar_imbalance.benchmark.workers import KERAS_MODELS
from cifar_imbalance.configuration.checks import MAKE_KERAS_PYTHON
from cifar_imbalance.configuration.fields import XLA_ROWS, BenchmarkConfig
from cifar_imbalance.configuration.hardware import INSTALL_XLA, tpu_is_attached
from cifar_imbalance.errors import UsageError
from cifar_imbalance.models.build import check_name
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.runtimes.environment import environment
from cifar_imbalance.runtimes.select import make_runtime
from cifar_imbalance.terminal import Terminal

log = logging.getLogger(__name__)


def run_benchmark(config: BenchmarkConfig, folder: Path) -> None:
    """Time the rows available on this machine, print the results and write them into `folder`.

    Raises UsageError if no row is available.
    """
    with Terminal() as terminal:
        canvas.use(config.plots)
        check_name(config.model)
        runtime = make_runtime(config.runtime)
        config = replace(
            config,
            rows=_available_rows(config, runtime.name),
            model=replace(config.model, resolution=None),
            runtime=runtime.settled(config.runtime),
        )
        measured = measure(config, runtime)
        results = {**_results(config, measured), "environment": environment(runtime)}
        if config.profile:
            results["operator_milliseconds"] = operator_times(config, with_compile(runtime, config, False))
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(folder / "benchmark.json", results)
        benchmark_plot(folder / "benchmark.png", results)
        terminal.console.print(benchmark_table(results))
        if config.profile:
            terminal.console.print(operator_table(results))
        log.info("written to: %s", folder)


def _available_rows(config: BenchmarkConfig, device: str) -> list[str]:
    """The rows that can be timed here; the others are logged. `device` is what the rows in this process run on."""
    missing = {}
    if config.keras_python is None:
        missing["keras"] = f"needs a Python with TensorFlow; {MAKE_KERAS_PYTHON}"
    elif config.model.name.split(".")[0] not in KERAS_MODELS:
        missing["keras"] = f"Keras has no {config.model.name}, only {', '.join(KERAS_MODELS)}"
    if importlib.util.find_spec("torch_xla") is None:
        missing |= dict.fromkeys(XLA_ROWS, f"torch_xla is not installed; {INSTALL_XLA} installs it")
    if device != "cpu" or tpu_is_attached():  # rows are compared on one device only
        missing |= dict.fromkeys(("keras", *XLA_ROWS), "is timed on machines that have a CPU alone")
    left_out = [f"{row}: {missing[row]}" for row in config.rows if row in missing]
    rows = [row for row in config.rows if row not in missing]
    if not rows:
        raise UsageError(f"rows={config.rows}: none can be timed here; {'; '.join(left_out)}")
    for line in left_out:
        log.info("left out: %s", line)
    return rows


def _results(config: BenchmarkConfig, measured: Measured) -> dict[str, Any]:
    """The content of benchmark.json: medians, with the smallest and the largest value of a round."""
    return {
        "model": config.model.name,
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        "class_count": config.class_count,
        "rounds": config.rounds,
        "steps": config.steps,
        "precision": config.runtime.precision,
        "compile": config.runtime.compile,
        "ratios": {name: _spread(values) for name, values in measured.ratios().items()},
        "images_per_second": {name: _spread(values) for name, values in measured.images_per_second.items()},
        "gflops_per_second": _spread(measured.gflops_per_second),
        "gflops_per_image": measured.gflops_per_image,
        "share_of_matrix_product": {
            name: _spread(values) for name, values in measured.shares_of_matrix_product().items()
        },
        "first_round_seconds": measured.first_round_seconds,
        "workers": measured.workers,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}
