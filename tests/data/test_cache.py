"""Cache entries are written atomically, and used only if they match their checksums."""

import fcntl
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cifar_imbalance.data.cache import load_or_build, locked, new_folder, write_split
from cifar_imbalance.errors import UsageError

KEY = "0123456789abcdef0123"
IMAGES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
LABELS = np.array([0, 1], dtype=np.int64)

TWO_STARTS = """
import sys, time
from pathlib import Path
import numpy as np
from cifar_imbalance.data.cache import load_or_build, write_split

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write("built ")
    time.sleep(0.5)
    write_split(folder, "train", np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int64))
    return {}

arrays, _ = load_or_build(sys.argv[1], "set", "0" * 20, build)
print(arrays["train_images"].shape)
"""


@pytest.fixture
def builds():
    return []


@pytest.fixture
def load(tmp_path, builds):
    def build(folder):
        builds.append(folder)
        write_split(folder, "train", IMAGES, LABELS)
        return {"class_names": ["a", "b"]}

    return lambda key=KEY: load_or_build(str(tmp_path / "some" / "cache"), "set", key, build)


def entry(tmp_path):
    return tmp_path / "some" / "cache" / "set-0123456789abcdef"


def fail(folder):
    (folder / "half.npy").write_bytes(b"half")
    raise UsageError("failed")


def test_a_built_entry_is_read_back(load):
    for _ in range(2):
        arrays, content = load()
        assert np.array_equal(arrays["train_images"], IMAGES) and np.array_equal(arrays["train_labels"], LABELS)
        assert arrays["train_hashes"].dtype == np.uint64 and len(arrays["train_hashes"]) == 2
        assert content == {"class_names": ["a", "b"]}


def test_an_entry_is_built_once(load, builds):
    load()
    load()
    assert len(builds) == 1


def test_another_key_is_another_entry(load, builds):
    load()
    load("f" * 20)
    assert len(builds) == 2


def test_keys_with_the_same_prefix_are_distinguished(load, builds):
    load()
    load(KEY[:16] + "other")
    assert len(builds) == 2


def test_images_are_memory_mapped_and_read_only(load):
    images = load()[0]["train_images"]
    assert isinstance(images, np.memmap) and not images.flags.writeable


def test_only_the_entry_is_left_on_disk(load, tmp_path):
    load()
    assert [path.name for path in entry(tmp_path).parent.iterdir()] == [entry(tmp_path).name]
    names = sorted(path.name for path in entry(tmp_path).iterdir())
    assert names == ["metadata.json", "train_hashes.npy", "train_images.npy", "train_labels.npy"]


@pytest.mark.parametrize("name", ["metadata.json", "train_images.npy", "train_labels.npy", "train_hashes.npy"])
@pytest.mark.parametrize("damage", ["shortened", "changed", "emptied", "removed"])
def test_a_damaged_entry_is_rebuilt(load, builds, tmp_path, name, damage):
    load()
    path = entry(tmp_path) / name
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes({"shortened": content[:-1], "changed": content, "emptied": b""}[damage])
    assert np.array_equal(load()[0]["train_images"], IMAGES)
    assert len(builds) == 2


def test_files_left_by_a_killed_process_are_removed(load, tmp_path):
    part = entry(tmp_path).with_name(f".{entry(tmp_path).name}.part")
    part.mkdir(parents=True)
    (part / "train_images.npy").write_bytes(b"half")
    load()
    assert not part.exists()


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(UsageError, match="failed"):
        load_or_build(str(tmp_path / "some" / "cache"), "set", KEY, fail)
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_older_folders_and_entries(load, tmp_path):
    load()
    with pytest.raises(UsageError, match="failed"):
        load_or_build(str(tmp_path / "some" / "cache"), "set", "f" * 20, fail)
    assert list(entry(tmp_path).parent.iterdir()) == [entry(tmp_path)]


def test_a_folder_that_cannot_be_created_is_rejected(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"
    with pytest.raises(UsageError) as caught:
        load_or_build(str(folder), "set", KEY, fail)
    assert str(caught.value) == (
        f"dataset.cache_dir={folder}: cannot write there: Not a directory; choose another with dataset.cache_dir=FOLDER"
    )


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    def build(folder):
        write_split(folder, "train", IMAGES, LABELS)
        return {}

    load_or_build("~/cache", "set", KEY, build)
    assert (tmp_path / "cache").is_dir()


def test_two_processes_that_start_together_decode_once(tmp_path):
    command = [sys.executable, "-c", TWO_STARTS, str(tmp_path / "cache"), str(tmp_path / "log")]
    root = Path(__file__).parents[2]
    started = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in started] == ["(2, 4, 4, 3)\n"] * 2
    assert (tmp_path / "log").read_text() == "built "


@pytest.mark.parametrize("removed", ["the lock", "the folder"])
def test_whoever_waited_for_a_process_that_failed_holds_the_lock_alone(tmp_path, monkeypatch, removed):
    """The process that failed has removed its lock, and the folder that it had created."""
    lock = tmp_path / "cache" / ".lock"
    flock = fcntl.flock

    def waits(file, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        flock(file, operation)
        lock.unlink()
        if removed == "the folder":
            lock.parent.rmdir()

    monkeypatch.setattr(fcntl, "flock", waits)
    with new_folder(lock.parent), locked(lock), lock.open() as another, pytest.raises(BlockingIOError):
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert list(tmp_path.rglob("*")) == [lock.parent]
