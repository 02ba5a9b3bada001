"""Locks between processes; that of Windows with a stand-in for its module, which records what is locked."""

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cifar_imbalance import locks

HOLDS = """
import sys
from cifar_imbalance import locks
with open(sys.argv[1], "a") as file:
    locks.lock_byte(file, int(sys.argv[2])) if len(sys.argv) > 2 else locks.lock(file)
    print(flush=True)
    sys.stdin.read()
"""


def holding(*words):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLDS, *map(str, words)], **pipes)
    process.stdout.readline()
    return process


def test_a_file_is_locked_by_one_process(tmp_path):
    path = tmp_path / "file"
    with holding(path) as other, path.open("a") as file:
        with pytest.raises(BlockingIOError):
            locks.lock(file)
        other.kill()
        other.wait()
        locks.lock(file)  # the system has released it


def test_bytes_of_a_file_are_locked_one_by_one(tmp_path):
    path = tmp_path / "file"
    with holding(path, 2**40) as other, path.open("a") as file:
        locks.lock_byte(file, 2**40 + 1)
        with pytest.raises(BlockingIOError):
            locks.lock_byte(file, 2**40)
        other.stdin.close()


def test_windows_locks_bytes_that_no_reader_reads(tmp_path, monkeypatch):
    places, locked = [0], []

    def locking(descriptor, mode, count):
        if places[-1] in locked:
            raise PermissionError(13, "Permission denied")
        locked.append(places[-1])

    monkeypatch.setattr(os, "lseek", lambda descriptor, place, whence: places.append(place))
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    spec = importlib.util.spec_from_file_location("locks_of_windows", locks.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with (tmp_path / "file").open("a") as file:
        module.lock(file)
        module.lock_byte(file, 7)
        with pytest.raises(BlockingIOError):
            module.lock_byte(file, 7)
    assert locked == [1 << 56, (1 << 56) + 7]


def test_a_lock_is_acquired_by_one_process_or_without_locks_by_all_which_is_logged(tmp_path, monkeypatch, caplog):
    path = tmp_path / "file"
    with holding(path) as other, path.open("a") as file:
        assert not locks.acquire(file)
        assert locks.acquire(file, place=7)
        other.stdin.close()

    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "lock", unsupported)
    with path.open("a") as file, caplog.at_level("INFO"):
        assert locks.acquire(file, wait=True)
    assert caplog.messages == [f"{path}: its file system has no locks; do not train there from another process"]
