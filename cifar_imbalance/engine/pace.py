"""Whether a run has become slow because other processes compute on its cores."""

from __future__ import annotations

import os
import time

from cifar_imbalance.configuration.hardware import allowed_cores, core_seconds

WINDOW = 5.0  # seconds of steps over which a rate is taken
SLOW = 0.5  # of the run's own highest rate
BUSY = 0.5  # cores that other processes must use


class Pace:
    """The rate of a run's steps, window by window; says once that other processes slow it down."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._cores = allowed_cores()
        self._best = 0.0
        self._said = False
        self._open_window()
        self.begin()

    def begin(self) -> None:
        """Called before the first step of an epoch: the time since the last one, as of a validation, does not count."""
        self._last = time.perf_counter()

    def step(self, images: int) -> str | None:
        """Count a step of so many `images`. Returns a line to print if the run is slow and others compute."""
        now = time.perf_counter()
        self._images += images
        self._seconds += now - self._last
        self._last = now
        if self._said or self._seconds < WINDOW:
            return None
        rate = self._images / self._seconds
        others = (self._seconds_of_others() - self._others) / (now - self._opened)
        self._best = max(self._best, rate)
        self._open_window()
        if rate > SLOW * self._best or others < BUSY:
            return None
        self._said = True
        remedy = "end them, or wait"
        if self._threads > 1:
            remedy = f"{self._threads} threads wait for each other: interrupt and resume it with runtime.threads=1"
        return (
            f"{rate:.0f} images/s after {self._best:.0f}: other processes use {others:.1f} of the "
            f"{len(self._cores)} cores; {remedy}"
        )

    def _open_window(self) -> None:
        self._images, self._seconds = 0, 0.0
        self._opened, self._others = time.perf_counter(), self._seconds_of_others()

    def _seconds_of_others(self) -> float:
        """Seconds in which these cores have worked for other processes; a difference of two of these is what counts."""
        seconds = core_seconds(self._cores)
        own = os.times()
        return 0.0 if seconds is None else seconds[1] - own.user - own.system
