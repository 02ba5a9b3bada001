"""Where the time of a step goes: torch's profiler, operator by operator."""

from __future__ import annotations

from statistics import median

from torch.profiler import profile

from cifar_imbalance.benchmark.steps import Steps, bare_step, plain_step
from cifar_imbalance.configuration.fields import BenchmarkConfig
from cifar_imbalance.runtimes.base import DeviceRuntime

ROUNDS = 5
SMALLEST_SHARE = 0.01  # of a step; smaller ones are summed in `other`


def operator_times(config: BenchmarkConfig, runtime: DeviceRuntime) -> dict[str, dict[str, float]]:
    """Milliseconds of a step in each operator alone, for `channels_last_fused` (before) and `step` (after).

    Medians over rounds in which the two alternate.
    """
    rows = {
        "channels_last_fused": plain_step(config, runtime, channels_last_fused=True),
        "step": bare_step(config, runtime),
    }
    for run in rows.values():
        run()
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, run in rows.items():
            rounds[name].append(_times(run, config.steps))
    return {name: _largest(_medians(seen)) for name, seen in rounds.items()}


def _times(run: Steps, steps: int) -> dict[str, float]:
    with profile() as seen:  # every device that torch can profile here
        run()
    times: dict[str, float] = {}
    for event in seen.key_averages():
        time = event.self_cpu_time_total + getattr(event, "self_device_time_total", 0.0)
        times[event.key] = time / 1000 / steps
    return times


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for times in rounds for name in times)
    return {name: median(times.get(name, 0.0) for times in rounds) for name in names}


def _largest(times: dict[str, float]) -> dict[str, float]:
    smallest = SMALLEST_SHARE * sum(times.values())
    shown = {name: value for name, value in sorted(times.items(), key=lambda item: -item[1]) if value >= smallest}
    return {**shown, "other": sum(value for name, value in times.items() if name not in shown)}
