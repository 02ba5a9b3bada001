"""A program from its arguments to its exit code: every error ends it with one line."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cifar_imbalance.command_line.arguments import read_arguments
from cifar_imbalance.command_line.help_text import fields_text, groups_text
from cifar_imbalance.command_line.jobs import check_every_job
from cifar_imbalance.command_line.launch import launch
from cifar_imbalance.command_line.program import Program
from cifar_imbalance.configuration.installed import as_called
from cifar_imbalance.configuration.schema import explain
from cifar_imbalance.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    TrainingFailed,
    UsageError,
    interrupt_once,
)
from cifar_imbalance.runs.evaluated import evaluation_folder
from cifar_imbalance.runs.rerun import job_name, training_folder
from cifar_imbalance.terminal import printable

# Neither invalid input nor a bug: a full, failing or read-only disk, a quota.
MACHINE_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE),
    # A folder that was changed or unmounted meanwhile, something in the place of a file, a path of too many links.
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)


def main(program: Program) -> None:
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
    OmegaConf.register_new_resolver("job_number", _job_number, replace=True)
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("evaluation_folder", evaluation_folder, replace=True)
    OmegaConf.register_new_resolver("as_called", as_called, replace=True)
    OmegaConf.register_new_resolver("choices", lambda: groups_text(program), replace=True)
    OmegaConf.register_new_resolver("fields", lambda _root_: _in_template(fields_text(program, _root_)), replace=True)
    try:
        program.existing |= _working_folders()
        check_every_job(program, read_arguments(program))
        launch(program)
    except UsageError as error:
        _stop(program, str(error), EXIT_REFUSED)
    except OmegaConfBaseException as error:
        _stop(program, str(explain(error, program.schema)), EXIT_REFUSED)
    except HydraException as error:
        _stop(program, _first_line(error, program.schema), EXIT_REFUSED)
    except TrainingFailed as error:
        _stop(program, str(error), EXIT_FAILED)
    except KeyboardInterrupt as error:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)  # Python's last steps make a handler the default again, but not this
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


def _job_number(number: int | None) -> int | None:
    """The number of a job, from 1; Hydra counts from 0, and a run that is no job has none."""
    return number + 1 if isinstance(number, int) else number


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


def _in_template(text: str) -> str:
    """`text` as Hydra's template of the help prints it."""
    return text.replace("$", "$$")


def _first_line(error: HydraException, schema: type) -> str:
    """Hydra's error as one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OmegaConfBaseException):
            return str(explain(cause, schema))
        cause = cause.__cause__
    return " ".join(str(error).partition("Config search path")[0].split())
