"""Every job of the command line is composed and checked here before Hydra starts.

So a mistake gives a one-line error and exit code 2, and leaves no file or folder.
"""

from __future__ import annotations

import os
import re
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.command_line.arguments import add_to_command, only_describes
from cifar_imbalance.command_line.composer import Composer, hydras_errors
from cifar_imbalance.command_line.launchers import check_cores, check_plugin, of_launcher
from cifar_imbalance.command_line.program import Program
from cifar_imbalance.command_line.sweep import Sweep, free_folder
from cifar_imbalance.configuration.checks import check_sweep_in_one_process
from cifar_imbalance.configuration.differences import fingerprint
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.overrides import check_operators, check_override, check_plugin_fields, parse
from cifar_imbalance.configuration.schema import field_paths
from cifar_imbalance.configuration.typed import FOLDERS, PATHS
from cifar_imbalance.errors import UsageError

MANY_JOBS = 50
MOST_JOBS = 10_000


def check_every_job(program: Program, arguments: Any) -> None:
    """Compose and check each job of the command line. Raises UsageError for the first invalid one."""
    if arguments.shell_completion:  # its words are no overrides
        return
    overrides = list(arguments.overrides)
    if arguments.config_dir:
        program.config_dir = Path(arguments.config_dir).resolve()
        if not program.config_dir.is_dir():
            raise UsageError(f"--config-dir={arguments.config_dir}: there is no such folder")
    parsed = parse(overrides)
    _check_typed(program, arguments, parsed)
    jobs = _jobs(parsed) if arguments.multirun else [overrides]
    compose = Composer(arguments.config_name or program.name, program.schema, program.searchpath)
    configs: list[Any] = []
    folders: list[Path] = []
    subdirs: list[str] = []
    if len(jobs) > MANY_JOBS:
        print(f"checking {len(jobs)} jobs before the first one starts", flush=True)
    for number, job in enumerate(jobs):
        with hydras_errors(" ".join(job)):
            check_operators(compose, job)
            composed = compose(job, number)
        if arguments.config_dir:
            _check_hydras_part(compose, composed, job)
        HydraConfig.instance().set_config(composed)
        if only_describes(arguments):
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
        _check_job_folders(composed, job)
        field_name = "output" if "output" in composed else f"hydra.{kind}.dir"
        folder = Path(composed.hydra[kind].dir, composed.hydra.sweep.subdir if arguments.multirun else "")
        if folder in folders and not program.has_results:  # runs and evaluations take the next free name
            raise UsageError(f"hydra.sweep.subdir={composed.hydra.sweep.subdir}: several jobs have this folder")
        folders.append(folder)
        subdirs.append(composed.hydra.sweep.subdir if arguments.multirun else "")
        program.existing.add(_writable(field_name, composed.hydra[kind].dir))
    if arguments.multirun and configs:
        _prepare_sweep(program, parsed, jobs, configs, composed.hydra, subdirs)


def _prepare_sweep(
    program: Program,
    parsed: list[Override],
    jobs: list[list[str]],
    configs: list[Any],
    hydra: DictConfig,
    subdirs: list[str],
) -> None:
    """Check what the jobs of a sweep share, `hydra`, and settle its folder, in sys.argv too; see Program.sweep.

    Raises UsageError for a launcher that does not suit the jobs, and a folder or page that they cannot share.
    """
    overrides = [str(override.input_line) for override in parsed]
    launcher = hydra.runtime.choices["hydra/launcher"]
    runtimes = [config.runtime for config in configs if hasattr(config, "runtime")]
    typed = {override.key_or_group for override in parsed}
    check_cores(launcher, hydra.launcher, runtimes, typed)
    add_to_command(overrides, of_launcher(launcher, hydra.launcher))
    if not launcher.startswith("submitit"):  # which has a process for each job
        check_sweep_in_one_process(runtimes)
    folder = Path(hydra.sweep.dir)
    if (folder / "config.yaml").is_file():
        raise UsageError(f"hydra.sweep.dir={folder}: it is the folder of a run; choose another")
    sweeps = [override for override in parsed if override.is_sweep_override()]
    listed = all(override.is_discrete_sweep() for override in sweeps)
    is_ours = listed and "BasicSweeper" in hydra.sweeper._target_
    opens_page = any(getattr(config, "open", False) for config in configs)
    if opens_page and not (is_ours and program.report is not None):
        raise UsageError("open=true: opens one page, and each job of this sweep (-m) has its own")
    if not {"hydra.sweep.dir", "output"} & typed:
        folder = free_folder(folder)
        add_to_command(overrides, [f"hydra.sweep.dir={folder}"])
    if is_ours:
        swept = [override.key_or_group for override in sweeps]
        prints = [fingerprint(config) for config in configs if isinstance(config, TrainConfig)]
        where = folder.absolute()
        program.sweep = Sweep(swept, jobs, where, subdirs, prints, program.has_results, launcher, opens_page)


def _check_typed(program: Program, arguments: Any, parsed: list[Override]) -> None:
    """Raises UsageError for an override that this program, or this mode of it, does not have."""
    groups = program.groups(arguments.config_dir)
    for override in parsed:
        check_override(override, groups, program.schema)
        if override.key_or_group in PATHS and not override.is_sweep_override() and override.value() == "":
            what = "folder" if override.key_or_group in FOLDERS else "path"
            raise UsageError(f"{override.key_or_group}=: a {what} is expected")
        check_plugin(override)
        if override.key_or_group.startswith(("hydra/launcher", "hydra.launcher")) and not arguments.multirun:
            raise UsageError(f"{override.input_line}: only with -m, which makes a sweep")
        if override.key_or_group in ("hydra.run.dir", "hydra.sweep.dir") and "output" in field_paths(program.schema):
            raise UsageError(f"{override.input_line}: write output={override.value()}")
        other_mode = "hydra.run." if arguments.multirun else "hydra.sweep."
        if override.key_or_group.startswith(other_mode):
            mode = (
                "without -m; a sweep has hydra.sweep.dir" if arguments.multirun else "with -m; a run has hydra.run.dir"
            )
            raise UsageError(f"{override.input_line}: only {mode}")
        if override.is_sweep_override() and not arguments.multirun:
            listed = f"{override.key_or_group}=[{str(override.input_line).partition('=')[2]}]"
            raise UsageError(f"{override.input_line}: several values make a sweep, add -m; a list is written {listed}")
    check_plugin_fields(parsed)


def _jobs(parsed: list[Override]) -> list[list[str]]:
    """The overrides of each job of a sweep. Raises UsageError for one without jobs, or with more than MOST_JOBS."""
    if any(override.is_sweep_override() and not override.is_discrete_sweep() for override in parsed):
        _check_sweeper(parsed)
        return [[str(o.input_line) for o in parsed if not o.is_sweep_override()]]  # another sweeper samples the rest
    count = 1
    for override in [override for override in parsed if override.is_sweep_override()]:
        if getattr(override.value(), "shuffle", False):
            raise UsageError(f"{override.input_line}: a sweep runs its jobs in the order in which they are typed")
        with hydras_errors(str(override.input_line)):
            values = sum(1 for _ in islice(override.sweep_iterator(), MOST_JOBS + 1))
        if values == 0:
            raise UsageError(f"{override.input_line}: there are no values in it")
        count *= values
    if count > MOST_JOBS:
        raise UsageError(f"--multirun: a sweep has at most {MOST_JOBS} jobs, this one has more")
    return BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]


def _check_hydras_part(compose: Composer, composed: DictConfig, job: list[str]) -> None:
    """Raises UsageError if a file of --config-dir sets Hydra's own fields, which would not be checked."""

    def own(config: DictConfig) -> dict[str, Any]:
        part = dict(OmegaConf.to_container(config.hydra, resolve=False))  # type: ignore[arg-type]
        job_part = {name: value for name, value in part["job"].items() if name not in ("num", "override_dirname")}
        return {**part, "job": job_part, "overrides": None, "runtime": None}

    found = own(composed)
    expected = own(compose.anew([text for text in job if text.lstrip("+").startswith("hydra")]))
    for name, value in expected.items():
        if found.get(name) != value:
            raise UsageError(f"hydra.{name}: a file of --config-dir sets it; Hydra's own fields can be typed alone")


def _check_job_folders(composed: DictConfig, job: list[str]) -> None:
    """Raises UsageError for a typed folder that uses a value of Hydra's that is not there, which is None in a path."""
    for text in job:
        for name in re.findall(r"\$\{\s*hydra:\s*([^}\s]+)", text) if text.startswith("hydra") else ():
            if OmegaConf.select(composed.hydra, name) is None:
                raise UsageError(f"{text}: Hydra has no value hydra:{name}; --cfg hydra shows those it has")


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
