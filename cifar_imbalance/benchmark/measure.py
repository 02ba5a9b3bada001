"""Rows timed alternately, round after round, so that load on the machine affects them all alike."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cifar_imbalance.benchmark.steps import Steps, bare_step, built, dataloader_loop, plain_step, whole_loop
from cifar_imbalance.benchmark.workers import Worker, keras_worker, xla_worker
from cifar_imbalance.configuration.fields import BENCHMARK_ROWS, XLA_ROWS, BenchmarkConfig
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.runtimes.select import make_runtime

log = logging.getLogger(__name__)

WORKERS: dict[str, Callable[[BenchmarkConfig], Worker]] = {
    "keras": keras_worker,
    **{row: partial(xla_worker, row=row) for row in XLA_ROWS},
}
MATRIX_SIDE = 1024
MATRIX_SECONDS = 0.5  # of products in a round
RATIOS = (
    ("loop", "step"),  # or step_compiled, where the loop is compiled
    ("step", "channels_last_fused"),
    ("step_compiled", "channels_last_fused"),
    ("step", "keras"),
    ("step_compiled", "keras"),
    ("step", "plain"),
    ("loop", "dataloader_loop"),
    ("step", "xla_step"),
    ("xla_loop", "xla_step"),
)


@dataclass(frozen=True)
class Measured:
    """Images per second of each row, one value per round, and what they are compared with."""

    images_per_second: dict[str, list[float]]
    gflops_per_second: list[float]  # float32 matrix product
    gflops_per_image: float  # of a training step of the plain model
    loop_is_compiled: bool
    first_round_seconds: dict[str, float]  # of a row's first round: includes compilation, if it compiles
    workers: dict[str, Any]  # what the rows in other processes report about themselves

    def ratios(self) -> dict[str, list[float]]:
        """`one / other`, one value per round: both were timed within seconds of each other."""
        rows = self.images_per_second
        pairs = list(RATIOS)
        if self.loop_is_compiled:
            pairs[0] = ("loop", "step_compiled")
        pairs = [(one, other) for one, other in pairs if one in rows and other in rows]
        return {f"{a} / {b}": [x / y for x, y in zip(rows[a], rows[b], strict=True)] for a, b in pairs}

    def shares_of_matrix_product(self) -> dict[str, list[float]]:
        """FLOP/s of each row's steps as a share of those of the machine's matrix product."""
        return {
            name: [
                speed * self.gflops_per_image / rate for speed, rate in zip(speeds, self.gflops_per_second, strict=True)
            ]
            for name, speeds in self.images_per_second.items()
        }


def measure(config: BenchmarkConfig, runtime: DeviceRuntime) -> Measured:
    """Time every row of `config.rows`: one warm-up round, then `config.rounds` timed ones, interleaved."""
    with ExitStack() as stack:
        names = [name for name in BENCHMARK_ROWS if name in config.rows]
        rows: dict[str, Steps] = {}
        workers = {}
        first: dict[str, float] = {}
        for name in sorted(names, key=lambda name: name not in WORKERS):  # those that may fail to start come first
            log.info("%s: preparing", name)
            if name in WORKERS:
                worker = WORKERS[name](config)
                stack.callback(worker.close)
                rows[name], workers[name] = worker, worker.described
            else:
                rows[name] = _row(name, config, runtime)
            first[name] = _seconds(rows[name])
        speeds: dict[str, list[float]] = {name: [] for name in names}
        products = []
        for number in range(config.rounds):
            begin = number % len(names)  # rotate, so that no row always follows the same one
            for name in names[begin:] + names[:begin]:
                speeds[name].append(config.steps * config.batch_size / _seconds(rows[name]))
            products.append(matrix_product_rate(runtime))
            log.info("round %d of %d: %s", number + 1, config.rounds, _last(speeds, products))
    return Measured(speeds, products, training_gflops_per_image(config), config.runtime.compile, first, workers)


def _row(name: str, config: BenchmarkConfig, runtime: DeviceRuntime) -> Steps:
    if name == "loop":
        return whole_loop(config, runtime)
    if name in ("step", "step_compiled"):
        return bare_step(config, with_compile(runtime, config, name == "step_compiled"))
    if name == "dataloader_loop":
        return dataloader_loop(config, runtime)
    return plain_step(config, runtime, channels_last_fused=name == "channels_last_fused")


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _last(speeds: dict[str, list[float]], products: list[float]) -> str:
    rows = ", ".join(f"{name} {values[-1]:.0f}" for name, values in speeds.items())
    return f"{rows} images/s, matrix product {products[-1]:.0f} GFLOP/s"


def matrix_product_rate(runtime: DeviceRuntime) -> float:
    """GFLOP/s of float32 products of square matrices, an estimate of the machine's peak."""
    left, right = torch.randn(2, MATRIX_SIDE, MATRIX_SIDE, device=runtime.device)
    out = torch.mm(left, right)
    count, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < MATRIX_SECONDS:
        torch.mm(left, right, out=out)
        count += 1
        runtime.wait()
    return 2 * MATRIX_SIDE**3 * count / seconds / 1e9


def training_gflops_per_image(config: BenchmarkConfig) -> float:
    """Multiplications and additions of convolutions and matrix products: three times those of a forward pass.

    (The gradients of inputs and of weights cost as much each. torch's own count of a backward pass treats a depthwise
    convolution as a dense one.)
    """
    module = built(config).module.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, config.image_size, config.image_size))
    return 3 * counter.get_total_flops() / 1e9


def with_compile(runtime: DeviceRuntime, config: BenchmarkConfig, compile: bool) -> DeviceRuntime:
    """The runtime with torch.compile switched on or off."""
    return make_runtime(replace(config.runtime, name=runtime.name, compile=compile))
