"""Cache of decoded images on disk: a folder of .npy files and a metadata.json with their checksums.

An entry is built in a temporary folder and renamed into place under a lock, so it appears atomically, and processes
that start together decode only once. An entry whose files do not match the checksums is rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.data.identity import image_hash
from cifar_imbalance.errors import UsageError
from cifar_imbalance.locks import lock

FORMAT = 2  # incremented when decoding or the files below change, so that older entries are not used

Arrays = dict[str, NDArray[Any]]


def load_or_build(
    cache_dir: str, name: str, key: str, build: Callable[[Path], dict[str, Any]]
) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of the entry `key` by file name without suffix, and what `build` returned, a dictionary for JSON.

    `build` is called if there is no valid entry, with an empty folder to be filled by `write_split`. Images are
    memory-mapped and read-only. If `build` raises, nothing new is left on disk. A folder that is not writable raises
    UsageError.
    """
    directory = expanded(cache_dir, "dataset.cache_dir")
    folder = directory / f"{name}-{key[:16]}"
    if (entry := _load(folder, key)) is not None:
        return entry
    try:
        with new_folder(directory), locked(directory / f".{folder.name}.lock"):
            if (entry := _load(folder, key)) is None:  # another process may have built it while we waited
                _build(folder, key, build)
                entry = _load(folder, key)
    except OSError as error:
        raise UsageError(
            f"dataset.cache_dir={cache_dir}: cannot write there: {error.strerror or error}; "
            "choose another with dataset.cache_dir=FOLDER"
        ) from error
    if entry is None:
        raise UsageError(f"dataset.cache_dir={cache_dir}: files written there do not read back correctly")
    return entry


def write_split(folder: Path, split: str, images: Iterable[NDArray[np.uint8]], labels: NDArray[np.int64]) -> None:
    """Write a split's images, labels and hashes into `folder`, keeping one image in memory at a time.

    `images`: uint8 [height, width, 3], all of the same shape, as many as `labels` [n], n >= 1.
    """
    images = iter(images)
    first = next(images)
    hashes = np.zeros(len(labels), dtype=np.uint64)
    with open(folder / f"{split}_images.npy", "wb") as file:
        shape = (len(labels), *first.shape)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for position, image in enumerate(chain([first], images)):
            file.write(image.tobytes())
            hashes[position] = image_hash(image)
    np.save(folder / f"{split}_labels.npy", labels)
    np.save(folder / f"{split}_hashes.npy", hashes)


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Create `folder` and its parents; if the block raises, remove those that were created and are empty."""
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in created:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` and delete it afterwards; other processes wait meanwhile."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # a process that failed may have removed what it had created
        with path.open("w") as file:
            lock(file, wait=True)
            try:
                held = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                held = False
            if not held:  # whoever held it before has deleted it: a lock on it excludes nobody
                continue
            try:
                yield
            finally:
                with suppress(PermissionError):  # Windows deletes no open file
                    path.unlink(missing_ok=True)
            return


def _build(folder: Path, key: str, build: Callable[[Path], dict[str, Any]]) -> None:
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process: we hold the lock
    try:
        part.mkdir()
        content = build(part)
        files = {path.name: _sha256(path) for path in sorted(part.iterdir())}
        record = {"format": FORMAT, "key": key, "files": files, "content": content}
        (part / "metadata.json").write_text(json.dumps({**record, "sha256": _digest(record)}, indent=1))
        for path in part.iterdir():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
        os.rename(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _load(folder: Path, key: str) -> tuple[Arrays, dict[str, Any]] | None:
    try:
        record = json.loads((folder / "metadata.json").read_text())
        checksum = record.pop("sha256")
        if checksum != _digest(record) or record["key"] != key or record["format"] != FORMAT:
            return None
        arrays: Arrays = {}
        for name, digest in record["files"].items():
            if _sha256(folder / name) != digest:
                return None
            mode: Literal["r"] | None = "r" if name.endswith("_images.npy") else None
            arrays[name.removesuffix(".npy")] = np.load(folder / name, mmap_mode=mode, allow_pickle=False)
        return arrays, record["content"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # absent or damaged in any way
        return None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
