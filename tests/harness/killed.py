"""Runs in processes forked from a warm one, which are killed at a file operation or after some time."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

from matplotlib.figure import Figure

from cifar_imbalance import command_line

CHANGES = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod")  # os.replace is an os.rename

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["cifar_imbalance.command_line", "cifar_imbalance.engine.experiment", "sklearn.datasets"])


def train(cwd: Path, words: list[str], *, at: int | None = None, after: float | None = None) -> tuple[int, str]:
    """`python train.py WORDS` in `cwd`, killed before its file operation number `at`, or `after` so many seconds.

    Returns the exit code, -9 if it was killed, and what it wrote to stderr.
    """
    process = forks.Process(target=_train, args=(cwd, words, at))
    process.start()
    process.join(after)
    process.kill()
    process.join()
    return process.exitcode, (cwd / "err").read_text()


def _train(cwd: Path, words: list[str], at: int | None) -> None:
    os.chdir(cwd)
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    Figure.savefig = lambda *_, **__: None  # drawing would take half of the time
    sys.argv = ["train.py", *words]
    _die_at(at)
    command_line.train()


def _die_at(number: int | None) -> None:
    """Let this process kill itself before the file operation `number` in a folder `run`, counted from 1."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in CHANGES) and "run" in str(arguments[0]).split("/"):
            count()

    def fsync(file: int, flush=os.fsync) -> None:
        count()
        flush(file)

    sys.addaudithook(audit)
    os.fsync = fsync
