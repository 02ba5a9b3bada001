"""A tree of class folders: root/train/CLASS/image and root/test/CLASS/image.

Classes are numbered in alphabetical order of their names, images of a class in that of theirs. Test classes are matched
by name. Hidden entries, __MACOSX and files that are not images (by suffix) are ignored, subfolders of a class folder
are not read; both are reported in the notes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.data.decode import SUFFIXES
from cifar_imbalance.errors import UsageError, nearest
from cifar_imbalance.terminal import count_of_classes, one_line

_File = tuple[str, int, int, int, int]  # name, size in bytes, times of modification and change in nanoseconds, inode
LEFTOVERS = ("__MACOSX",)  # of archives


@dataclass(frozen=True)
class ClassFolders:
    """The listing of a tree. `train` and `test` contain one list of files per class, in the order of class_names."""

    root: Path
    class_names: tuple[str, ...]
    train: list[list[_File]]
    test: list[list[_File]]
    notes: list[str]

    def paths(self, split: str) -> list[Path]:
        folders = zip(self.class_names, getattr(self, split), strict=True)
        return [self.root / split / name / file[0] for name, files in folders for file in files]

    def names(self, split: str) -> list[str]:
        """The files of a split relative to the root, as text that can be shown."""
        return [one_line(f"{split}/{path.parent.name}/{path.name}") for path in self.paths(split)]

    def labels(self, split: str) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.class_names)), [len(files) for files in getattr(self, split)])

    def fingerprint(self) -> str:
        """Changes when a file is added, removed, renamed, replaced or modified, or the tree is moved or copied."""
        digest = hashlib.sha256(os.fsencode(self.root))
        for split in ("train", "test"):
            for name, files in zip(self.class_names, getattr(self, split), strict=True):
                digest.update(repr((split, name, files)).encode())
        return digest.hexdigest()


class _Skipped:
    """Counts skipped entries and keeps one example."""

    def __init__(self, text: str) -> None:
        self.text, self.count, self.example = text, 0, ""

    def add(self, path: str) -> None:
        self.count, self.example = self.count + 1, self.example or path

    def notes(self, root: Path) -> list[str]:
        example = os.path.relpath(self.example or root, root).encode(errors="replace").decode()
        return [self.text.format(count=self.count, example=example)] if self.count else []


def list_class_folders(root: Path) -> ClassFolders:
    """The classes and files under `root`. Raises UsageError if the tree is not as described above."""
    ignored = _Skipped("ignored {count} files that are not images, such as {example}")
    subfolders = _Skipped("{count} subfolders of class folders were not read, such as {example}")
    names = {split: _class_names(root, split, ignored) for split in ("train", "test")}
    if len(names["train"]) < 2:
        found = f"only {names['train'][0]}" if names["train"] else "none"
        raise UsageError(f"dataset.root={root}: at least 2 class folders are needed in {root / 'train'}, found {found}")
    for name in names["test"]:
        if name not in names["train"]:
            hint = nearest(name, names["train"])
            raise UsageError(f"dataset.root={root}: class {name} of the test images is not in train{hint}")
    train = [_images(root / "train" / name, ignored, subfolders) for name in names["train"]]
    for name, files in zip(names["train"], train, strict=True):
        if not files:
            folder = root / "train" / name
            raise UsageError(f"dataset.root={root}: no images in the class folder {folder} (subfolders are not read)")
    there = set(names["test"])
    test = [_images(root / "test" / name, ignored, subfolders) if name in there else [] for name in names["train"]]
    if not any(test):
        raise UsageError(f"dataset.root={root}: no images in {root / 'test'}")
    notes = [*ignored.notes(root), *subfolders.notes(root)]
    absent = [name for name, files in zip(names["train"], test, strict=True) if not files]
    if absent:
        notes.append(f"{count_of_classes(len(absent))} without test images: {', '.join(absent)}")
    return ClassFolders(root, tuple(names["train"]), train, test, notes)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"dataset.root: cannot read the folder {folder}: {error.strerror}") from error


def _class_names(root: Path, split: str, ignored: _Skipped) -> list[str]:
    if not (root / split).is_dir():
        raise UsageError(
            f"dataset.root={root}: there is no folder {root / split}; train/CLASS and test/CLASS are expected"
        )
    names = []
    for entry in _entries(root / split):
        hidden = entry.name.startswith(".") or entry.name in LEFTOVERS
        if not hidden and entry.is_symlink() and not os.path.exists(entry.path):
            raise UsageError(f"dataset.root={root}: {entry.path} is a link to {os.readlink(entry.path)}, which is gone")
        if hidden or not entry.is_dir():
            ignored.add(entry.path)
            continue
        try:
            entry.name.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"dataset.root={root}: the class folder name {entry.name!r} is not UTF-8") from error
        names.append(entry.name)
    return names


def _images(folder: Path, ignored: _Skipped, subfolders: _Skipped) -> list[_File]:
    files = []
    for entry in _entries(folder):
        hidden = entry.name.startswith(".")
        if not hidden and entry.is_dir():
            subfolders.add(entry.path)
        elif hidden or os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
            ignored.add(entry.path)
        else:
            try:
                status = entry.stat()
            except OSError as error:
                raise UsageError(f"dataset.root: cannot read {entry.path}: {error.strerror}") from error
            if stat.S_ISREG(status.st_mode):
                times = (status.st_mtime_ns, status.st_ctime_ns)  # only the latter cannot be set back
                files.append((entry.name, status.st_size, *times, status.st_ino))
            else:  # a pipe or a device, which would block
                ignored.add(entry.path)
    return files
