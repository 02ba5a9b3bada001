"""From the command line to checked configurations, and from there to a run.

Hydra composes, sweeps and launches. Before it does, every job of the command line is composed and checked here, so that
a mistake gives a one-line error and exit code 2, and leaves no file or folder. Torch is imported only after that.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cifar_imbalance.configuration.checks import (
    check_sweep_in_one_process,
    checked_benchmark,
    checked_evaluate,
    checked_figures,
    checked_train,
)
from cifar_imbalance.configuration.fields import BenchmarkConfig, EvaluateConfig, FiguresConfig, TrainConfig
from cifar_imbalance.configuration.overrides import (
    CONF,
    check_operators,
    check_override,
    check_plugin_fields,
    default_experiment,
    keys,
    parse,
)
from cifar_imbalance.configuration.schema import explain, field_paths
from cifar_imbalance.configuration.typed import readable
from cifar_imbalance.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    TrainingFailed,
    UsageError,
    interrupt_once,
)
from cifar_imbalance.runs.folder import find_run
from cifar_imbalance.runs.rerun import (
    combined_runs,
    composed_for_evaluation,
    composed_for_training,
    evaluation_folder,
    job_name,
    training_folder,
)
from cifar_imbalance.sweep import Composer, Sweep, free_folder
from cifar_imbalance.terminal import printable

MANY_JOBS = 50
MOST_JOBS = 10_000
COMPLETION = ("install", "uninstall", "query")

# Neither invalid input nor a bug: a full, failing or read-only disk, a quota.
MACHINE_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE),
    # A folder that was changed or unmounted meanwhile, something in the place of a file, a path of too many links.
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)


@dataclass
class Program:
    """One of the programs: how its configuration is checked, and what runs it."""

    name: str
    typed: str  # the prefix of its messages
    schema: type
    checked: Callable[[DictConfig, list[str]], Any]
    run: Callable[[Any, Path, list[str]], Path | None]  # returns the folder of a run with results
    failures: list[str] = field(default_factory=list)
    existing: set[Path] = field(default_factory=set)  # folders that were there
    sweep: Sweep | None = None

    @property
    def has_results(self) -> bool:
        return self.schema in (TrainConfig, EvaluateConfig)

    def groups(self, extra_folder: str | None = None) -> dict[str, list[str]]:
        """The groups of this program and their choices: {'model': ['b0', 'b5', ...], ...}."""
        groups: dict[str, list[str]] = {}
        for root in [CONF, *([Path(extra_folder)] if extra_folder else [])]:
            for file in sorted(root.rglob("*.yaml")):
                group = file.parent.relative_to(root).as_posix()
                if group in field_paths(self.schema):
                    groups.setdefault(group, []).append(file.stem)
        return dict(sorted(groups.items()))


def train() -> None:
    def run(config: TrainConfig, folder: Path, overrides: list[str]) -> Path | None:
        from cifar_imbalance.engine.ensemble import run_ensemble
        from cifar_imbalance.engine.experiment import run_experiment

        return (run_experiment if config.ensemble.members == 1 else run_ensemble)(config, folder, overrides)

    def checked(composed: DictConfig, overrides: list[str]) -> TrainConfig:
        return checked_train(composed_for_training(composed, overrides), keys(overrides))

    _main(Program("train", "train.py", TrainConfig, checked, run))


def evaluate() -> None:
    def run(config: EvaluateConfig, folder: Path, overrides: list[str]) -> Path | None:
        from cifar_imbalance.engine.evaluation import run_combination, run_evaluation

        runs = combined_runs(config.ckpt)
        if runs:
            return run_combination(config, runs, folder, overrides)
        return run_evaluation(config, folder, overrides)

    def checked(composed: DictConfig, overrides: list[str]) -> EvaluateConfig:
        config = composed_for_evaluation(composed, overrides)
        runs = combined_runs(config.ckpt)
        of_weights = not runs and find_run(config.ckpt) is None
        return checked_evaluate(config, keys(overrides), of_saved_logits=bool(runs), of_weights=of_weights)

    _main(Program("evaluate", "evaluate.py", EvaluateConfig, checked, run))


def benchmark() -> None:
    def run(config: BenchmarkConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.benchmark.run import run_benchmark

        run_benchmark(config, folder)

    def checked(composed: DictConfig, overrides: list[str]) -> BenchmarkConfig:
        return checked_benchmark(composed)

    _main(Program("benchmark", "cifar_imbalance.benchmark", BenchmarkConfig, checked, run))


def figures() -> None:
    def run(config: FiguresConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.figures.draw import run_figures

        run_figures(config, folder)

    def checked(composed: DictConfig, overrides: list[str]) -> FiguresConfig:
        return checked_figures(composed, keys(overrides))

    _main(Program("figures", "cifar_imbalance.figures", FiguresConfig, checked, run))


def _main(program: Program) -> None:
    signal.signal(signal.SIGTERM, interrupt_once)  # handle a scheduler's SIGTERM like Ctrl-C
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, interrupt_once)
    if sys.getfilesystemencoding() != "utf-8":  # file names in this locale could not be read, written or shown
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    logging.raiseExceptions = False  # Hydra's --info logs into a pipe that its reader may have closed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 shows \xe9 instead of a trace
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them over several lines
    ConfigStore.instance().store(f"{program.name}_schema", program.schema)
    OmegaConf.register_new_resolver("run_folder", training_folder, replace=True)
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("evaluation_folder", evaluation_folder, replace=True)
    OmegaConf.register_new_resolver("choices", lambda: _list_choices(program), replace=True)
    try:
        program.existing |= _working_folders()
        arguments = _arguments()
        arguments.overrides = _readable(arguments.overrides)
        if program.schema is TrainConfig and not _only_describes(arguments):
            arguments.overrides = _with_experiment(arguments.overrides)
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
    except KeyboardInterrupt as error:
        for one in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # Python's last steps make a handler the default again, but not this
            signal.signal(one, signal.SIG_IGN)
        _stop(program, f"interrupted; {error}" if str(error) else "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)  # a run that this ended is not finished
    except MemoryError as error:
        _stop(program, f"the memory of this machine is too small ({error or 'exhausted'})", EXIT_FAILED)
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        _stop(program, f"{error.filename or 'standard output'}: {error.strerror}", EXIT_FAILED)


def _working_folders() -> set[Path]:
    """The working folder and those that contain it. Raises UsageError if it has been removed."""
    try:
        return {Path.cwd(), *Path.cwd().parents}
    except FileNotFoundError:
        raise UsageError("the working folder has been removed; change to another one") from None


def _stop(program: Program, message: str, code: int) -> None:
    for line in [*program.failures, message]:
        print(f"{program.typed}: {printable(line)}", file=sys.stderr)
    sys.exit(code)


def _arguments() -> Any:
    def refuse(message: str) -> NoReturn:
        where = "; flags must come before or after all FIELD=VALUE arguments" if "unrecognized" in message else ""
        raise UsageError(f"{message}{where}; see --help")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]  # argparse would print its usage over many lines
    arguments = parser.parse_args()
    if arguments.experimental_rerun:
        raise UsageError("--experimental-rerun: it unpickles a file, which could run any code; use repeat=RUN")
    if arguments.config_path:
        raise UsageError("--config-path: the configuration is that of conf/; --config-dir=FOLDER adds another")
    modes = ("cfg", "info", "run", "multirun", "shell_completion")
    given = [f"--{name.replace('_', '-')}" for name in modes if getattr(arguments, name)]
    if len(given) > 1:
        raise UsageError(f"{' '.join(given)}: only one of these flags is possible")
    for flag in ("resolve", "package"):
        if getattr(arguments, flag) and not arguments.cfg:
            raise UsageError(f"--{flag}: only with --cfg")
    if arguments.shell_completion and ("".join(arguments.overrides)).partition("=")[0] not in COMPLETION:
        raise UsageError(f"--shell-completion: one of {', '.join(f'{word}=SHELL' for word in COMPLETION)} is expected")
    return arguments


def _with_experiment(overrides: list[str]) -> list[str]:
    """The overrides with the default experiment added."""
    added = default_experiment(overrides)
    _add_to_command(overrides, added)
    return [*overrides, *added]


def _add_to_command(overrides: list[str], added: list[str]) -> None:
    """Add to the overrides in sys.argv, which Hydra reads itself; flags come before or after all of them."""
    place = len(sys.argv) - sys.argv[::-1].index(overrides[-1]) if overrides else 1
    sys.argv = [*sys.argv[:place], *added, *sys.argv[place:]]


def _readable(overrides: list[str]) -> list[str]:
    """The overrides with quotes where paths need them, also in sys.argv, which Hydra reads itself."""
    changed = {text: readable(text) for text in overrides}
    sys.argv = [changed.get(word, word) for word in sys.argv]
    return [changed[text] for text in overrides]


@contextmanager
def _hydras_errors(what: str) -> Iterator[None]:
    """Whatever Hydra raises for an input that it does not check, as one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, UsageError, TrainingFailed, OSError):
        raise  # they have lines of their own
    except Exception as error:
        raise UsageError(f"{what}: Hydra cannot use this ({type(error).__name__}: {error}); see --help") from error


def _list_choices(program: Program) -> str:
    return "\n".join(f"  {group:13} {', '.join(choices)}" for group, choices in program.groups().items())


# ---------------------------------------------------------------- before Hydra starts
def _only_describes(arguments: Any) -> bool:
    """Whether Hydra is asked about itself or about the program, which composes no job."""
    return bool(arguments.help or arguments.hydra_help or arguments.shell_completion or arguments.info)


def _check_every_job(program: Program, arguments: Any) -> None:
    """Compose and check each job of the command line. Raises UsageError for the first invalid one."""
    if arguments.shell_completion:  # its words are no overrides
        return
    overrides = list(arguments.overrides)
    searchpath = []
    if arguments.config_dir:
        folder = Path(arguments.config_dir).resolve()
        if not folder.is_dir():
            raise UsageError(f"--config-dir={arguments.config_dir}: there is no such folder")
        searchpath = [f"hydra.searchpath=[file://{folder}]"]
    parsed = parse(overrides)
    groups = program.groups(arguments.config_dir)
    for override in parsed:
        check_override(override, groups, program.schema)
        if override.is_sweep_override() and not arguments.multirun:
            listed = f"{override.key_or_group}=[{str(override.input_line).partition('=')[2]}]"
            raise UsageError(f"{override.input_line}: several values make a sweep, add -m; a list is written {listed}")
    check_plugin_fields(parsed)
    jobs = _jobs(parsed) if arguments.multirun else [overrides]
    compose = Composer(arguments.config_name or program.name, program.schema, searchpath)
    configs = []
    if len(jobs) > MANY_JOBS:
        print(f"checking {len(jobs)} jobs before the first one starts", flush=True)
    for number, job in enumerate(jobs):
        with _hydras_errors(" ".join(job)):
            check_operators(compose, job)
            composed = compose(job, number)
        HydraConfig.instance().set_config(composed)
        if _only_describes(arguments):
            continue
        if arguments.cfg:
            _check_not_from_run(composed)
            if arguments.package and OmegaConf.select(composed, arguments.package) is None:
                raise UsageError(f"--package={arguments.package}: there is no such part of the configuration")
            continue  # the configuration is only shown: it may be incomplete
        if arguments.multirun and composed.hydra.sweeper.get("params"):
            raise UsageError("hydra.sweeper.params: a sweep is typed, FIELD=VALUE,VALUE, so that all of it is checked")
        configs.append(program.checked(_without_hydra(composed), job))
        kind = "sweep" if arguments.multirun else "run"
        field_name = "output" if "output" in composed else f"hydra.{kind}.dir"
        program.existing.add(_writable(field_name, composed.hydra[kind].dir))
    if arguments.multirun and configs and "BasicLauncher" in composed.hydra.launcher._target_:
        check_sweep_in_one_process(config.runtime for config in configs if hasattr(config, "runtime"))
    if arguments.multirun and configs:
        folder = Path(composed.hydra.sweep.dir)
        if not {"hydra.sweep.dir", "output"} & {override.key_or_group for override in parsed}:
            folder = free_folder(folder)
            _add_to_command(overrides, [f"hydra.sweep.dir={folder}"])
        if len(jobs) == len(configs) and all(o.is_discrete_sweep() for o in parsed if o.is_sweep_override()):
            swept = [override.key_or_group for override in parsed if override.is_sweep_override()]
            program.sweep = Sweep(swept, jobs, folder)


def _jobs(parsed: list[Override]) -> list[list[str]]:
    """The overrides of each job of a sweep. Raises UsageError for one without jobs, or with more than MOST_JOBS."""
    if any(override.is_sweep_override() and not override.is_discrete_sweep() for override in parsed):
        _check_sweeper(parsed)
        return [[str(o.input_line) for o in parsed if not o.is_sweep_override()]]  # another sweeper samples the rest
    count = 1
    for override in [override for override in parsed if override.is_sweep_override()]:
        if getattr(override.value(), "shuffle", False):
            raise UsageError(f"{override.input_line}: a sweep runs its jobs in the order in which they are typed")
        with _hydras_errors(str(override.input_line)):
            values = sum(1 for _ in islice(override.sweep_iterator(), MOST_JOBS + 1))
        if values == 0:
            raise UsageError(f"{override.input_line}: there are no values in it")
        count *= values
    if count > MOST_JOBS:
        raise UsageError(f"--multirun: a sweep has at most {MOST_JOBS} jobs, this one has more")
    return BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]


def _check_not_from_run(composed: DictConfig) -> None:
    """Raises UsageError for an existing run: Hydra shows what it composes, not that run's own configuration."""
    for name in ("resume", "repeat", "start", "ckpt"):
        if name in composed and not OmegaConf.is_missing(composed, name) and composed[name] is not None:
            raise UsageError(
                f"{name}={composed[name]}: --cfg does not show that run's configuration; see its config.yaml"
            )


def _check_sweeper(parsed: list[Override]) -> None:
    """Hydra's own sweeper only takes lists of values. Raises UsageError for a range without another sweeper."""
    if not any(override.key_or_group == "hydra/sweeper" for override in parsed):
        (text, *_) = [o.input_line for o in parsed if o.is_sweep_override() and not o.is_discrete_sweep()]
        raise UsageError(
            f"{text}: values are listed, FIELD=VALUE,VALUE or range(FROM,TO); more needs hydra/sweeper=NAME"
        )


def _without_hydra(composed: DictConfig) -> DictConfig:
    plain = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    OmegaConf.resolve(plain)
    return plain


def _first_line(error: HydraException, schema: type) -> str:
    """Hydra's error as one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OmegaConfBaseException):
            return str(explain(cause, schema))
        cause = cause.__cause__
    return " ".join(str(error).partition("Config search path")[0].split())


def _writable(name: str, value: str) -> Path:
    """The deepest existing folder of a path. Raises UsageError if it is not writable."""
    place = Path(value).absolute()
    try:
        while not place.exists():
            place = place.parent
        os.rmdir(tempfile.mkdtemp(dir=place))  # permissions are not enough: root, a read-only or full disk
    except OSError as error:
        reason = f"{place} cannot be written ({error.strerror})"
        raise UsageError(f"{name}={value}: {reason}; choose another with {name}=FOLDER") from error
    return place


# ---------------------------------------------------------------- running Hydra
def _run_hydra(program: Program) -> None:
    """Let Hydra run the job or the sweep. Raises a job's error, or TrainingFailed if jobs of a sweep failed."""
    stopped: list[Exception] = []
    sweep = program.sweep
    Sweeper.validate_batch_is_legal = lambda *_: None  # type: ignore[method-assign]  # it would compose every job again

    def task(composed: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.output_dir)
        overrides = list(hydra_config.overrides.task)
        here = hydra_config.mode == RunMode.RUN or "BasicLauncher" in hydra_config.launcher._target_
        if sweep is not None:
            print(sweep.label(hydra_config.job.num), flush=True)
        done: Path | None = None
        try:
            OmegaConf.resolve(composed)
            done = program.run(program.checked(composed, overrides), folder, overrides)
            _remove_empty(folder, program.existing)  # a resumed run has a folder of its own
        except KeyboardInterrupt:
            _remove_empty(folder, program.existing)
            raise
        except Exception as error:
            _remove_empty(folder, program.existing)
            if hydra_config.mode == RunMode.MULTIRUN:
                _record_failure(program, folder, overrides, error)
            if not here:  # another process: Hydra passes the error on
                raise
            stopped.append(error)  # raised below, since Hydra would print its own lines about it
        if sweep is not None and here and program.has_results:
            sweep.add(hydra_config.job.num, done)

    with _hydras_errors(" ".join(sys.argv[1:])):
        hydra.main(config_path=str(CONF), config_name=program.name, version_base="1.3")(task)()
    if sweep is not None and sweep.rows:
        print(f"\n{sweep.table()}\nsweep: {sweep.folder / 'sweep.csv'}")
    if program.failures:
        raise TrainingFailed(f"{len(program.failures)} of the sweep's jobs failed")
    if stopped:
        raise stopped[0]


def _record_failure(program: Program, folder: Path, overrides: list[str], error: Exception) -> None:
    """A sweep continues after a failed job: the traceback goes to the job's log, its name to the end of the output."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{program.name}.log"
    if not log.exists() or traceback.format_exception_only(error)[-1] not in log.read_text():  # a run logs its own
        with log.open("a", encoding="utf-8") as file:
            file.writelines(traceback.format_exception(error))
    reason = " ".join((str(error) if isinstance(error, UsageError | TrainingFailed) else repr(error)).split())
    number = HydraConfig.get().job.num
    job = f"job {number}: {' '.join(overrides)}" if program.sweep is None else program.sweep.label(number)
    program.failures.append(f"{job}: failed: {reason}; see {log}")
    print(program.failures[-1], flush=True)  # at once, since the other jobs may take hours


def _remove_empty(folder: Path, existing: set[Path]) -> None:
    """Remove the folder that Hydra created for a run that never started, and the parents created for it."""
    folder = folder.absolute()
    while folder not in existing and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
