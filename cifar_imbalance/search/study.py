"""Optuna's ask and tell on a journal: one file, which several processes share and a killed one leaves readable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from cifar_imbalance import keys, locks
from cifar_imbalance.configuration.fields import OBJECTIVES
from cifar_imbalance.report.search import TrialResult

_NAME = "search"


class _Lock:
    """A lock on a file, which the system releases when its process is killed; Optuna's own would be waited for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self, *, wait: bool = True) -> bool:
        """Whether this process has it now; always, if it waits."""
        file = self._path.open("a")
        if not locks.acquire(file, wait=wait):
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _JournalLock(JournalFileOpenLock):
    def __init__(self, path: Path) -> None:
        self._lock = _Lock(path)

    def acquire(self) -> bool:
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


class Study:
    """The trials of a search in a folder. `seed` and a trial's number give its draws, with the results so far."""

    def __init__(self, folder: Path, objectives: Sequence[str], seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder, self._seed = folder, seed
        self._objectives = list(objectives)
        (folder / ".locks").mkdir(exist_ok=True)
        with self.alone():
            journal, lock = folder / "journal.jsonl", folder / ".locks" / "journal"
            with _Lock(lock):
                _drop_torn_line(journal)
            backend = JournalFileBackend(str(journal), _JournalLock(lock))
            self._study = optuna.create_study(
                storage=JournalStorage(backend),
                study_name=_NAME,
                directions=["maximize" if OBJECTIVES[name] else "minimize" for name in objectives],
                load_if_exists=True,
            )

    def alone(self) -> AbstractContextManager[None]:
        """While it is held, no other process of this search takes a trial or writes the report."""
        return _Lock(self._folder / ".locks" / "search")

    @contextmanager
    def next_trial(self, count: int) -> Iterator[optuna.Trial | None]:
        """A trial for this process alone: one that a killed process left, else a new one; None if there are `count`.

        It is left for the next process if it is not told.
        """
        with self.alone():
            trial, lock = self._taken(count)
        try:
            yield trial
        finally:
            if lock is not None:
                lock.release()

    def _taken(self, count: int) -> tuple[optuna.Trial | None, _Lock | None]:
        trials = self._study.get_trials(deepcopy=False)
        for one in trials:
            if one.state == TrialState.RUNNING and (lock := self._held(one.number)) is not None:
                self._seed_sampler(one.number)
                return optuna.Trial(self._study, one._trial_id), lock
        if len(trials) >= count:
            return None, None
        self._seed_sampler(len(trials))
        trial = self._study.ask()
        return trial, self._held(trial.number)

    def _seed_sampler(self, number: int) -> None:
        self._study.sampler = TPESampler(seed=keys.integer(self._seed, "search", number))

    def _held(self, number: int) -> _Lock | None:
        """The lock of a trial; None if another process has it."""
        lock = _Lock(self._folder / ".locks" / f"{number:04d}")
        return lock if lock.acquire(wait=False) else None

    def tell(self, trial: optuna.Trial, values: Sequence[float], run: Path) -> None:
        """The objectives of a finished run."""
        trial.set_user_attr("folder", str(run.relative_to(self._folder)))
        self._study.tell(trial, list(values))

    def tell_failed(self, trial: optuna.Trial, why: str) -> None:
        trial.set_user_attr("failed", why)
        self._study.tell(trial, state=TrialState.FAIL)

    def results(self) -> list[TrialResult]:
        """All trials that have ended, in their order."""
        front = {trial.number for trial in self._study.best_trials}
        return [
            TrialResult(
                number=trial.number,
                parameters={name: _text(value) for name, value in trial.params.items()},
                objectives=self._named(trial.values) if trial.state == TrialState.COMPLETE else None,
                on_front=trial.number in front,
                folder=trial.user_attrs.get("folder", ""),
                failed=trial.user_attrs.get("failed"),
            )
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state.is_finished()
        ]

    def _named(self, values: Sequence[float]) -> Mapping[str, float]:
        return dict(zip(self._objectives, values, strict=True))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _drop_torn_line(journal: Path) -> None:
    """Cut off a last line that a killed process wrote in part, to which the next one would be appended."""
    if journal.is_file() and (content := journal.read_bytes()) and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
