"""How many cores are free, from what the system counts."""

import pytest

from cifar_imbalance.configuration import hardware


@pytest.mark.parametrize(
    "cores, idle, busy, expected",
    [
        (2, 0.6, 0.0, 2),
        (2, 0.56, 0.04, 2),
        (2, 0.3, 0.3, 1),
        (2, 0.0, 0.6, 1),  # one at least
        (4, 0.65, 0.55, 2),
        (16, 4.2, 0.6, 14),
        (1, 0.0, 0.0, 1),
    ],
)
def test_free_cores_are_those_that_were_idle_while_we_waited(monkeypatch, cores, idle, busy, expected):
    counted = [(100.0, 50.0), (100.0 + idle, 50.0 + busy)]
    monkeypatch.setattr(hardware, "allowed_cores", lambda: list(range(cores)))
    monkeypatch.setattr(hardware, "core_seconds", lambda cores: counted.pop(0))
    assert hardware.free_cores(seconds=0) == expected


def test_where_the_system_does_not_count_all_cores_are_taken(monkeypatch):
    monkeypatch.setattr(hardware, "allowed_cores", lambda: [0, 1, 2])
    monkeypatch.setattr(hardware, "core_seconds", lambda cores: None)
    assert hardware.free_cores(seconds=0) == 3


def test_the_cores_of_this_machine_are_counted():
    idle, busy = hardware.core_seconds(hardware.allowed_cores())
    assert idle > 0
    assert busy > 0
