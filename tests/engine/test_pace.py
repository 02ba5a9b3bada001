"""A run says once that other processes slow it down."""

import pytest

from cifar_imbalance.engine import pace


@pytest.fixture
def drive(monkeypatch):
    """drive(threads, [(seconds, seconds of others)]) counts a step of 1,000 images a pair; returns what is said."""

    def driven(threads, steps, validation=0):
        now = {"time": 0.0, "others": 0.0}
        monkeypatch.setattr(pace, "allowed_cores", lambda: [0, 1])
        monkeypatch.setattr(pace.time, "perf_counter", lambda: now["time"])
        monkeypatch.setattr(pace.Pace, "_seconds_of_others", lambda self: now["others"])
        counted, said = pace.Pace(threads), []
        for seconds, others in steps:
            now["time"] += validation
            counted.begin()
            now["time"] += seconds
            now["others"] += others
            said.append(counted.step(1000))
        return said

    return driven


def test_a_run_at_a_fraction_of_its_own_rate_beside_others_says_so_once(drive):
    line = (
        "50 images/s after 200: other processes use 1.2 of the 2 cores; "
        "2 threads wait for each other: interrupt and resume it with runtime.threads=1"
    )
    assert drive(2, [(5, 0), (20, 24), (20, 24), (20, 24)]) == [None, line, None, None]


def test_one_thread_can_only_wait(drive):
    line = "50 images/s after 200: other processes use 1.2 of the 2 cores; end them, or wait"
    assert drive(1, [(5, 0), (20, 24)]) == [None, line]


@pytest.mark.parametrize(
    "steps",
    [
        [(5, 0), (20, 2)],  # nobody else computes
        [(5, 5), (8, 16)],  # others do, and we still have more than half
        [(5, 5), (2, 4), (2, 4)],  # too short to say
        [(20, 24), (5, 0)],  # it becomes faster
    ],
)
def test_nothing_is_said_otherwise(drive, steps):
    assert not any(drive(2, steps))


def test_windows_go_on_over_short_epochs_and_leave_validations_out(drive):
    line = "100 images/s after 400: other processes use 0.6 of the 2 cores; end them, or wait"
    steps = [(2.5, 0), (2.5, 0), (10, 25)]  # each an epoch of one step, after a validation of 30 s
    assert drive(1, steps, validation=30) == [None, None, line]
