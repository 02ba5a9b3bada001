"""Where the time of a step goes: torch's profiler, operator by operator."""

from __future__ import annotations

from torch.profiler import profile

from cifar_imbalance.benchmark.steps import Steps, bare_step, plain_step
from cifar_imbalance.config import BenchmarkConfig
from cifar_imbalance.runtimes.base import DeviceRuntime

SMALLEST_SHARE = 0.01  # of a step; what is less goes into `other`


def operator_times(config: BenchmarkConfig, runtime: DeviceRuntime) -> dict[str, dict[str, float]]:
    """Milliseconds of a step in each operator itself, of `channels_last_fused` (before) and of `step` (after)."""
    return {
        "channels_last_fused": _times(plain_step(config, runtime, channels_last_fused=True), config.steps),
        "step": _times(bare_step(config, runtime), config.steps),
    }


def _times(run: Steps, steps: int) -> dict[str, float]:
    run()
    with profile() as seen:  # of every device that torch can profile here
        run()
    whole: dict[str, float] = {}
    for event in seen.key_averages():
        time = event.self_cpu_time_total + getattr(event, "self_device_time_total", 0.0)
        whole[event.key] = time / 1000 / steps
    smallest = SMALLEST_SHARE * sum(whole.values())
    shown = {name: value for name, value in sorted(whole.items(), key=lambda item: -item[1]) if value >= smallest}
    return {**shown, "other": sum(value for name, value in whole.items() if name not in shown)}
