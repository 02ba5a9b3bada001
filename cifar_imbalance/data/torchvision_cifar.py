"""CIFAR-10 and CIFAR-100, downloaded and verified by torchvision."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cifar_imbalance.data.cache import locked, new_folder, write_split
from cifar_imbalance.data.decode import Size, resized_array
from cifar_imbalance.errors import UsageError


def torchvision_class(name: str) -> Any:
    """torchvision's class for `name`: cifar10 | cifar100. Imported here because the import takes seconds."""
    from torchvision.datasets import CIFAR10, CIFAR100

    return {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]


def files_present(name: str, root: Path) -> list[Path]:
    """torchvision's files in `root`: the extracted batches, else the archive, else none."""
    kind = torchvision_class(name)
    names = [*(file for file, _ in kind.train_list + kind.test_list), kind.meta["filename"]]
    batches = [root / kind.base_folder / file for file in names]
    if all(path.is_file() for path in batches):
        return batches
    archive = root / kind.filename
    return [archive] if archive.is_file() else []


def fingerprint(name: str, root: Path, files: list[Path]) -> str:
    """Changes when one of the files is modified, or the folder is moved."""
    rows = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((name, str(root), rows)).encode()).hexdigest()


def download(name: str, root: Path) -> None:
    """Download torchvision's files into `root`. Raises UsageError on failure, leaving nothing behind."""
    kind = torchvision_class(name)
    try:
        with new_folder(root), locked(root / f".{name}.lock"):
            if files_present(name, root):  # another process was faster
                return
            with TemporaryDirectory(dir=root, prefix=f".{name}-") as part:
                kind(part, download=True)
                os.rename(Path(part) / kind.filename, root / kind.filename)
    except Exception as error:  # urllib's, ssl's, tarfile's, torchvision's RuntimeError
        if isinstance(error, OSError) and error.filename is not None:  # from the disk, not the network
            reason = f"cannot write into {root}: {error.strerror}"
            raise UsageError(f"dataset.root (dataset.cache_dir where root is null): {reason}") from error
        raise UsageError(
            f"dataset.name={name}: download of {kind.url} failed ({error}); put a tree of class folders (train/CLASS, "
            f"test/CLASS) or torchvision's file {kind.filename} under dataset.root (now {root})"
        ) from error


def write_cifar(folder: Path, name: str, root: Path, size: Size | None) -> tuple[str, ...]:
    """Write torchvision's files in `root` into the cache's `folder`; returns class names. UsageError if damaged."""
    with _extracted(name, root) as extracted:
        for split in ("train", "test"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # from numpy, about old pickles
                    images = torchvision_class(name)(extracted, train=split == "train")  # verifies MD5
            except Exception as error:  # RuntimeError, or pickle's
                raise UsageError(f"dataset.root={root}: torchvision's files of {name} are damaged: {error}") from error
            resized = (resized_array(image, size) for image in images.data)
            write_split(folder, split, resized, np.asarray(images.targets, dtype=np.int64))
    return tuple(images.classes)


@contextmanager
def _extracted(name: str, root: Path) -> Iterator[Path]:
    from torchvision.datasets.utils import check_integrity, extract_archive

    kind = torchvision_class(name)
    files = files_present(name, root)
    if files != [root / kind.filename]:
        yield root
        return
    if not check_integrity(files[0], kind.tgz_md5):
        raise UsageError(f"dataset.root={root}: {files[0]} is damaged (its MD5 is not {kind.tgz_md5}); remove it")
    with TemporaryDirectory() as part:
        extract_archive(files[0], part)
        yield Path(part)
