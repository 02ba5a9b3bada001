"""Trees of class folders, in three layouts.

- root/train/CLASS/IMAGE and root/test/CLASS/IMAGE; test classes are matched by name.
- root/CLASS/IMAGE, of which a share of each class becomes the test images.
- root/test/CLASS/IMAGE or root/CLASS/IMAGE, test images of classes that are known.

Classes are numbered in alphabetical order of their names, images of a class in that of theirs; a letter with an accent
is the same whether a file system stores it as one character or as two. Hidden entries, __MACOSX and files that are not
images (by suffix) are ignored, subfolders of a class folder are not read; both are reported in the notes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar_imbalance.configuration.image_folder import has_splits, is_ignored, unread_splits
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.data import splits
from cifar_imbalance.data.decode import SUFFIXES
from cifar_imbalance.errors import UsageError, nearest
from cifar_imbalance.terminal import count_of_classes, one_line

_File = tuple[str, int, int, int, int]  # name, size in bytes, times of modification and change in nanoseconds, inode

CLASSES_NAMED = 10  # in an error


@dataclass(frozen=True)
class OfClass:
    """The images of a class in a split. `folder` is below the root."""

    folder: str
    files: list[_File] = field(default_factory=list)


@dataclass(frozen=True)
class ClassFolders:
    """The listing of a tree. Each split has an entry for each class, in the order of class_names."""

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, list[OfClass]]  # "train", "test"
    notes: list[str]
    owner: str = "dataset.root"  # the field of the configuration that names it

    def paths(self, split: str) -> list[Path]:
        return [self.root / of_class.folder / file[0] for of_class in self.splits[split] for file in of_class.files]

    def names(self, split: str) -> list[str]:
        """The files of a split relative to the root, as text that can be shown."""
        return [one_line(f"{of_class.folder}/{file[0]}") for of_class in self.splits[split] for file in of_class.files]

    def labels(self, split: str) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.class_names)), [len(of_class.files) for of_class in self.splits[split]])

    def fingerprint(self) -> str:
        """Changes when a file is added, removed, renamed, replaced or modified, or the tree is moved or copied."""
        digest = hashlib.sha256(os.fsencode(self.root))
        for split, classes in self.splits.items():
            for name, of_class in zip(self.class_names, classes, strict=True):
                digest.update(repr((split, name, of_class.folder, of_class.files)).encode())
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


class _Reader:
    """Lists classes and images below `root`, which the configuration's field `owner` names."""

    def __init__(self, root: Path, owner: str = "dataset.root") -> None:
        self.root, self.owner = root, owner
        self._ignored = _Skipped("ignored {count} files that are not images, such as {example}")
        self._subfolders = _Skipped("{count} subfolders of class folders were not read, such as {example}")

    @property
    def notes(self) -> list[str]:
        return [*self._ignored.notes(self.root), *self._subfolders.notes(self.root)]

    def error(self, what: str) -> UsageError:
        return UsageError(f"{self.owner}={self.root}: {what}")

    def classes(self, inside: str) -> dict[str, str]:
        """The classes in the folder `inside` of the root ("" is the root itself): names and folders, in order."""
        if not (self.root / inside).is_dir():
            which = f"train/CLASS and test/CLASS are expected{'' if inside else ', or CLASS'}"
            raise self.error(f"there is no folder {self.root / inside}; {which}")
        found: dict[str, str] = {}
        for entry in self._entries(self.root / inside):
            ignored = is_ignored(entry.name)
            if not ignored and entry.is_symlink() and not os.path.exists(entry.path):
                raise self.error(f"{entry.path} is a link to {os.readlink(entry.path)}, which is gone")
            if ignored or not entry.is_dir():
                self._ignored.add(entry.path)
                continue
            try:
                entry.name.encode()
            except UnicodeEncodeError as error:
                raise self.error(f"the class folder name {entry.name!r} is not UTF-8") from error
            name = _composed(entry.name)
            if name in found:
                raise self.error(f"two class folders are called {name}, in two spellings of Unicode")
            found[name] = os.path.join(inside, entry.name)
        return found

    def images(self, folder: str) -> OfClass:
        files = []
        for entry in self._entries(self.root / folder):
            hidden = entry.name.startswith(".")
            if not hidden and entry.is_dir():
                self._subfolders.add(entry.path)
            elif hidden or os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
                self._ignored.add(entry.path)
            else:
                try:
                    status = entry.stat()
                except OSError as error:
                    raise UsageError(f"{self.owner}: cannot read {entry.path}: {error.strerror}") from error
                if stat.S_ISREG(status.st_mode):
                    times = (status.st_mtime_ns, status.st_ctime_ns)  # only the latter cannot be set back
                    files.append((entry.name, status.st_size, *times, status.st_ino))
                else:  # a pipe or a device, which would block
                    self._ignored.add(entry.path)
        return OfClass(folder, files)

    def images_of_all(self, classes: dict[str, str]) -> list[OfClass]:
        """Raises UsageError for fewer than two classes, and for one without images."""
        if len(classes) < 2:
            found = f"only {next(iter(classes))}" if classes else "none"
            place = self.root / "train" if has_splits(self.root) else self.root
            raise self.error(f"at least 2 class folders are needed in {place}, found {found}")
        found_images = [self.images(folder) for folder in classes.values()]
        for of_class in found_images:
            if not of_class.files:
                folder = self.root / of_class.folder
                raise self.error(f"no images in the class folder {folder} (subfolders are not read)")
        return found_images

    def images_of_known(self, classes: dict[str, str], names: Sequence[str]) -> list[OfClass]:
        """The images of the classes `names`, of which some may have no folder. Raises UsageError if none has images."""
        found = [self.images(classes[name]) if name in classes else OfClass("") for name in names]
        if not any(of_class.files for of_class in found):
            where = "test/CLASS" if has_splits(self.root) else "CLASS"
            unlabelled = f"; without labels: {command('predict')} ckpt=RUN images={self.root}"
            hint = unlabelled if self.owner == "images" else ""
            raise self.error(f"there are no images in it as {where}/IMAGE{hint}")
        return found

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """By name, whatever the order in which the file system lists them."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: (_composed(entry.name), entry.name))
        except OSError as error:
            raise UsageError(f"{self.owner}: cannot read the folder {folder}: {error.strerror}") from error


def list_split_folders(root: Path) -> ClassFolders:
    """The tree root/train/CLASS/IMAGE, root/test/CLASS/IMAGE. Raises UsageError if it is not one."""
    reader = _Reader(root)
    classes = {split: reader.classes(split) for split in ("train", "test")}
    names = tuple(classes["train"])
    for name in classes["test"]:
        if name not in names and len(names) > 1:
            raise reader.error(f"class {name} of the test images is not in train{nearest(name, names)}")
    train = reader.images_of_all(classes["train"])
    test = reader.images_of_known(classes["test"], names)
    notes = [*reader.notes, *_not_read(root), *_without_images(names, test)]
    return ClassFolders(root, names, {"train": train, "test": test}, notes)


def list_unsplit_folders(root: Path, *, test_fraction: float, test_seed: int) -> ClassFolders:
    """The tree root/CLASS/IMAGE, of which splits.test_images are the test images.

    Raises UsageError if it is not one, and for a class that has too few images to divide.
    """
    reader = _Reader(root)
    classes = reader.classes("")
    images = reader.images_of_all(classes)
    counts = [len(of_class.files) for of_class in images]
    is_test = splits.test_images(counts, fraction=test_fraction, seed=test_seed, class_names=tuple(classes))
    parts: dict[str, list[OfClass]] = {"train": [], "test": []}
    for of_class, chosen in zip(images, is_test, strict=True):
        for split, wanted in (("train", False), ("test", True)):
            files = [file for file, test in zip(of_class.files, chosen, strict=True) if test == wanted]
            parts[split].append(OfClass(of_class.folder, files))
    return ClassFolders(root, tuple(classes), parts, reader.notes)


def list_test_folders(root: Path, class_names: Sequence[str], *, owner: str) -> ClassFolders:
    """The tree root/test/CLASS/IMAGE or root/CLASS/IMAGE of some of the classes `class_names`, as test images.

    Raises UsageError if it is not one, and for a class that is none of them.
    """
    reader = _Reader(root, owner)
    folders = reader.classes("test" if has_splits(root) else "")
    classes = {one_line(name): folder for name, folder in folders.items()}
    known = {_composed(name): name for name in class_names}
    for name in classes:
        if name not in known:
            listed = ", ".join([*list(known)[:CLASSES_NAMED], *(["..."] if len(known) > CLASSES_NAMED else [])])
            raise reader.error(f"class {name} is none of the run's, which are {listed}{nearest(name, known)}")
    test = reader.images_of_known({known[name]: folder for name, folder in classes.items()}, class_names)
    return ClassFolders(root, tuple(class_names), {"test": test}, reader.notes, owner)


def _without_images(names: Sequence[str], test: Sequence[OfClass]) -> list[str]:
    absent = [name for name, of_class in zip(names, test, strict=True) if not of_class.files]
    return [f"{count_of_classes(len(absent))} without test images: {', '.join(absent)}"] if absent else []


def _not_read(root: Path) -> list[str]:
    where = "validation images are held out of train/ (dataset.validation=holdout)"
    return [f"{name} is not read: {where}" for name in unread_splits(root)]


def _composed(name: str) -> str:
    """`name` in Unicode's composed form: some file systems store an accent as a character of its own."""
    return unicodedata.normalize("NFC", name)
