"""What the launchers of Hydra's plugins need: installed, and no more threads at a time than there are cores."""

from __future__ import annotations

import importlib
import importlib.util
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.configuration.hardware import allowed_cores
from cifar_imbalance.configuration.installed import CONF, installing
from cifar_imbalance.errors import UsageError, choose_from

EXTRAS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}
OWN_RAY = "hydra.launcher.ray.init.address=local"
PACKAGES = ("joblib", "submitit", "ray")  # errors of theirs, in a sweep, say that the process of a job is gone


def check_plugin(override: Override) -> None:
    """Raises UsageError for a launcher or sweeper that is unknown, or has an extra of its own and is not installed."""
    group, name = override.key_or_group, str(override.value())
    if group not in ("hydra/launcher", "hydra/sweeper"):
        return
    extras = EXTRAS if group == "hydra/launcher" else {}
    if name in extras and not _is_installed(extras[name]):
        raise UsageError(f"{override.input_line}: it is not installed; {installing(extras[name])} installs it")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        names = sorted({*GlobalHydra.instance().config_loader().get_group_options(group), *extras})
    if name not in names:
        raise choose_from(group, name, names)


def _is_installed(extra: str) -> bool:
    try:
        return importlib.util.find_spec(f"hydra_plugins.hydra_{extra}_launcher") is not None
    except ModuleNotFoundError:  # no plugin at all
        return False


def check_cores(name: str, launcher: DictConfig, runtimes: Sequence[Runtime], typed: Collection[str]) -> None:
    """Raises UsageError if a launcher of this name would run more threads at a time than it has cores.

    `typed` are the fields and groups of the command line; others have their defaults.
    """
    if not runtimes:
        return
    counts = [runtime.threads for runtime in runtimes]
    threads = None if None in counts else max(count for count in counts if count is not None)
    if name == "joblib":
        at_once = launcher.n_jobs if "hydra.launcher.n_jobs" in typed else None
        _check_joblib(at_once, len(runtimes), threads, len(allowed_cores()))
    if name == "ray":
        _check_ray(launcher.ray.init, launcher.ray.remote.get("num_cpus", 1), threads)


def of_launcher(name: str, launcher: DictConfig) -> list[str]:
    """What is typed for a launcher of this name whatever the user typed.

    Without an address Ray joins a cluster of this machine, even one that a killed sweep has left only the traces of.
    """
    return [OWN_RAY] if name == "ray" and launcher.ray.init.get("address") is None else []


def _check_joblib(at_once: int | None, jobs: int, threads: int | None, cores: int) -> None:
    most = max(1, min(jobs, cores // (threads or 1)))
    each = "" if threads else " runtime.threads=1"
    here = "1 core" if cores == 1 else f"{cores} cores"
    if at_once is None or at_once < 1:  # joblib's own default is -1, a job on every core
        given = "hydra/launcher=joblib" if at_once is None else f"hydra.launcher.n_jobs={at_once}"
        raise UsageError(
            f"{given}: the number of jobs at a time is expected; write hydra.launcher.n_jobs={most}{each} ({here})"
        )
    if threads is None and at_once > 1:
        raise UsageError(
            f"runtime.threads=null: each of {at_once} jobs at a time would take all idle cores; "
            f"write runtime.threads={max(1, cores // at_once)} ({here})"
        )
    if at_once * (threads or 1) > max(cores, threads or 1):  # what one job alone may use is checked elsewhere
        raise UsageError(
            f"hydra.launcher.n_jobs={at_once}: with runtime.threads={threads or 1} that is {at_once * (threads or 1)} "
            f"threads on {here}; write hydra.launcher.n_jobs={most}"
        )


def _check_ray(init: DictConfig, reserved: float, threads: int | None) -> None:
    if init.get("address") not in (None, "local") and "object_store_memory" not in init:
        raise UsageError(
            f"hydra.launcher.ray.init.address={init.address}: the plugin sets object_store_memory, which Ray refuses "
            "on a cluster that exists; write +hydra.launcher.ray.init.object_store_memory=null as well"
        )
    if threads is None:
        raise UsageError(
            f"runtime.threads=null: each job would take all idle cores, and Ray reserves {reserved:g} for it; "
            f"write runtime.threads={max(1, int(reserved))}"
        )
    if threads > reserved:
        raise UsageError(
            f"runtime.threads={threads}: Ray reserves {reserved:g} core(s) for a job; "
            f"write +hydra.launcher.ray.remote.num_cpus={threads}"
        )


@contextmanager
def adapted(name: str) -> Iterator[None]:
    """Let submitit's launchers wait for all jobs and not end them at Ctrl-C, and Ray's end its jobs with the sweep."""
    if name.startswith("submitit"):
        with _submitit():
            yield
        return
    try:
        yield
    finally:
        if name == "ray":
            importlib.import_module("ray").shutdown()


@contextmanager
def _submitit() -> Iterator[None]:
    job_class: Any = importlib.import_module("submitit.core.core").Job
    local: Any = importlib.import_module("submitit.local.local")
    results, start = job_class.results, local.start_controller

    def results_or_nothing(job: Any) -> list[Any]:
        try:
            return list(results(job))
        except Exception:  # its process is gone; without this, nobody would wait for the jobs after it
            return [JobReturn(status=JobStatus.COMPLETED)]

    def started(*arguments: Any, **options: Any) -> Any:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited
        try:
            return start(*arguments, **options)
        finally:
            signal.signal(signal.SIGINT, interrupt)

    job_class.results, local.start_controller = results_or_nothing, started
    try:
        yield
    finally:
        job_class.results, local.start_controller = results, start
