"""From what was typed to checked configurations, and from there to a run.

Hydra composes, sweeps and launches. Before it does, every job of the command line is composed and judged here, so that
a mistake is one line and exit code 2, and leaves no file or folder. Torch is imported only after that.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cifar_imbalance.checks import checked_evaluate, checked_train, explain, field_paths, unknown_field
from cifar_imbalance.config import OPERATORS, EvaluateConfig, TrainConfig
from cifar_imbalance.errors import EXIT_FAILED, EXIT_REFUSED, TrainingFailed, UsageError, choose_from, nearest
from cifar_imbalance.rerun import evaluated, evaluation_folder, resumed

CONF = Path(__file__).resolve().parent.parent / "conf"


@dataclass
class Program:
    """One of the two programs: how its configuration is judged, and what runs it."""

    name: str
    schema: type
    checked: Callable[[DictConfig, list[str]], Any]
    run: Callable[[Any, Path, list[str]], None]
    failures: list[str] = field(default_factory=list)


def train() -> None:
    def run(config: TrainConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.engine.experiment import run_experiment

        run_experiment(config, folder, overrides)

    def checked(composed: DictConfig, overrides: list[str]) -> TrainConfig:
        return checked_train(resumed(composed, _keys(overrides)))

    _main(Program("train", TrainConfig, checked, run))


def evaluate() -> None:
    def run(config: EvaluateConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.engine.evaluation import run_evaluation

        run_evaluation(config, folder)

    def checked(composed: DictConfig, overrides: list[str]) -> EvaluateConfig:
        return checked_evaluate(evaluated(composed, _keys(overrides)))

    _main(Program("evaluate", EvaluateConfig, checked, run))


def _main(program: Program) -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them over several lines
    ConfigStore.instance().store(f"{program.name}_schema", program.schema)
    OmegaConf.register_new_resolver("run_folder", lambda resume, fresh: resume or fresh, replace=True)
    OmegaConf.register_new_resolver("evaluation_folder", evaluation_folder, replace=True)
    try:
        arguments = get_args_parser().parse_args()
        _check_every_job(program, arguments)
        _run_hydra(program)
    except UsageError as error:
        _stop(program, str(error), EXIT_REFUSED)
    except OmegaConfBaseException as error:
        _stop(program, str(explain(error, program.schema)), EXIT_REFUSED)
    except HydraException as error:
        _stop(program, _first_line(error, program.schema), EXIT_REFUSED)
    except TrainingFailed as error:
        _stop(program, str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        _stop(program, "interrupted", 130)
    except OSError as error:
        _stop(program, f"{error.filename or ''}: {error.strerror or error}", EXIT_REFUSED)


def _stop(program: Program, message: str, code: int) -> None:
    for line in [*program.failures, message]:
        print(f"{program.name}.py: {line}", file=sys.stderr)
    sys.exit(code)


# ---------------------------------------------------------------- before Hydra's own start
def _check_every_job(program: Program, arguments: Any) -> None:
    """Compose and judge each job of the command line. Raises UsageError for the first that is wrong."""
    if arguments.help or arguments.hydra_help or arguments.shell_completion or arguments.info:
        return
    overrides = list(arguments.overrides)
    searchpath = []
    if arguments.config_dir:
        folder = Path(arguments.config_dir).resolve()
        if not folder.is_dir():
            raise UsageError(f"--config-dir={arguments.config_dir}: there is no such folder")
        searchpath = [f"hydra.searchpath=[file://{folder}]"]
    parsed = _parse(overrides)
    groups = _groups(arguments.config_dir)
    for override in parsed:
        _check_override(override, groups, program.schema)
    jobs = [overrides]
    if arguments.multirun:
        if any(override.is_sweep_override() and not override.is_discrete_sweep() for override in parsed):
            jobs = [[o.input_line for o in parsed if not o.is_sweep_override()]]  # a sweeper of its own draws the rest
        else:
            jobs = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]
    for number, job in enumerate(jobs):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose(arguments.config_name or program.name, [*job, *searchpath], return_hydra_config=True)
        OmegaConf.set_readonly(composed.hydra, False)
        composed.hydra.job.num = number
        OmegaConf.set_readonly(composed.hydra, True)
        HydraConfig.instance().set_config(composed)
        if arguments.cfg:
            continue  # the configuration is only shown: it may be unfinished
        program.checked(_without_hydra(composed), job)
        _check_writable(Path(composed.hydra.sweep.dir if arguments.multirun else composed.hydra.run.dir))


def _parse(overrides: Sequence[str]) -> list[Override]:
    parsed = []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except OverrideParseException as error:
            raise UsageError(f"{text}: cannot be read as FIELD=VALUE or GROUP=CHOICE; see --help") from error
    return parsed


def _keys(overrides: Sequence[str]) -> list[str]:
    return [override.key_or_group for override in _parse(overrides)]


def _groups(extra_folder: str | None) -> dict[str, list[str]]:
    """The groups of conf/ and their choices: {'model': ['b0', 'b5', ...], ...}."""
    groups: dict[str, list[str]] = {}
    for root in [CONF, *([Path(extra_folder)] if extra_folder else [])]:
        for file in sorted(root.rglob("*.yaml")):
            group = file.parent.relative_to(root).as_posix()
            if group != "." and not group.startswith("hydra"):
                groups.setdefault(group, []).append(file.stem)
    return groups


def _check_override(override: Override, groups: dict[str, list[str]], schema: type) -> None:
    key, text = override.key_or_group, str(override.input_line)
    if key.startswith("hydra"):
        return
    if override.is_delete():
        hint = f"choose another with {key}=NAME: {', '.join(groups[key])}" if key in groups else "set its value instead"
        raise UsageError(f"{text}: groups and fields cannot be deleted; {hint}")
    known = field_paths(schema)
    if override.is_add() or override.is_force_add():
        key_known = key in known or key in groups
        hint = f"write {text.lstrip('+')}" if key_known else f"no field or group is called {key}{nearest(key, known)}"
        raise UsageError(f"{text}: fields cannot be added; {hint}")
    if key in groups and (key != "experiment" or schema is TrainConfig):
        for choice in _choices(override):
            if choice not in groups[key]:
                raise choose_from(key, choice, groups[key])
    elif key not in known:
        near = nearest(key, groups)
        if "." not in key and near:
            raise UsageError(f"{key}: there is no such group or field{near}; groups are {', '.join(sorted(groups))}")
        raise unknown_field(key, schema)


def _choices(override: Override) -> list[str]:
    """The group choices of `model=b0`, `augmentation=[flip,cutout]` or `augmentation=none,[flip,cutout]`."""
    if override.is_sweep_override():
        if not override.is_discrete_sweep():
            return []
        values = [_parse([f"x={value}"])[0].value() for value in override.sweep_string_iterator()]
    else:
        values = [override.value()]
    return [str(choice) for value in values for choice in (value if isinstance(value, list) else [value])]


def _without_hydra(composed: DictConfig) -> DictConfig:
    plain = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    OmegaConf.resolve(plain)
    return plain


def _first_line(error: HydraException, schema: type) -> str:
    """One line for what Hydra refuses."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OmegaConfBaseException):
            path = str(cause.full_key or "")
            parts = path.split(".")
            if len(parts) == 3 and parts[0] == "augmentation" and parts[1] in OPERATORS and path in field_paths(schema):
                return f"{path}: {parts[1]} is not switched on; choose it with augmentation={parts[1]} or in a list"
            return str(explain(cause, schema))
        cause = cause.__cause__
    return " ".join(str(error).split())


def _check_writable(folder: Path) -> None:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UsageError(f"hydra.run.dir={folder}: {place} is not a folder; choose another with hydra.run.dir=FOLDER")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"hydra.run.dir={folder}: {place} cannot be written; choose another with hydra.run.dir=FOLDER")


# ---------------------------------------------------------------- Hydra's own start
def _run_hydra(program: Program) -> None:
    """Let Hydra run the job or the sweep. Raises what a job raised, or TrainingFailed where jobs of a sweep failed."""
    stopped: list[Exception] = []

    def task(composed: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.output_dir)
        overrides = list(hydra_config.overrides.task)
        here = hydra_config.mode == RunMode.RUN or "BasicLauncher" in hydra_config.launcher._target_
        try:
            OmegaConf.resolve(composed)
            program.run(program.checked(composed, overrides), folder, overrides)
        except Exception as error:
            _remove_empty(folder)
            if hydra_config.mode == RunMode.MULTIRUN:
                _note_failure(program, folder, overrides, error)
            if not here:  # another process: Hydra carries the error over
                raise
            stopped.append(error)  # raised below, since Hydra would print lines of its own about it

    hydra.main(config_path=str(CONF), config_name=program.name, version_base="1.3")(task)()
    if program.failures:
        raise TrainingFailed(f"{len(program.failures)} of the sweep's jobs failed")
    if stopped:
        raise stopped[0]


def _note_failure(program: Program, folder: Path, overrides: list[str], error: Exception) -> None:
    """A sweep goes on after a failed job: its traceback goes to its own log, its name to the end of the output."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{program.name}.log"
    if not log.exists():  # else the run has written it there itself
        log.write_text("".join(traceback.format_exception(error)))
    reason = " ".join((str(error) if isinstance(error, UsageError | TrainingFailed) else repr(error)).split())
    program.failures.append(f"job {HydraConfig.get().job.num} ({' '.join(overrides)}) failed: {reason}; see {log}")


def _remove_empty(folder: Path) -> None:
    """Take back the folder that Hydra made for a run that never began, and its parents where they are empty."""
    while folder != Path.cwd() and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
