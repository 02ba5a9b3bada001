"""Whether a run has become slow because other processes compute on its cores."""

from __future__ import annotations

import os
import time

from cifar_imbalance.configuration.hardware import allowed_cores, core_seconds

WINDOW = 5.0  # seconds over which a rate is taken
SLOW = 0.5  # of the run's own highest rate
BUSY = 0.5  # cores that other processes must use


class Pace:
    """The rate of a run's steps, window by window; says once that other processes slow it down."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._cores = allowed_cores()
        self._best = 0.0
        self._said = False
        self.begin()

    def begin(self) -> None:
        """Start a window, for instance after a validation, whose time does not count."""
        self._images = 0
        self._started = time.perf_counter()
        self._others = self._seconds_of_others()

    def step(self, images: int) -> str | None:
        """Count a step of so many `images`. Returns a line to print if the run is slow and others compute."""
        self._images += images
        seconds = time.perf_counter() - self._started
        if self._said or seconds < WINDOW:
            return None
        rate = self._images / seconds
        others = (self._seconds_of_others() - self._others) / seconds
        self._best = max(self._best, rate)
        self.begin()
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

    def _seconds_of_others(self) -> float:
        """Seconds in which these cores have worked for other processes; a difference of two of these is what counts."""
        seconds = core_seconds(self._cores)
        own = os.times()
        return 0.0 if seconds is None else seconds[1] - own.user - own.system
