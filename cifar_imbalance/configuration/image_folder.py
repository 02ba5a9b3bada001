"""How a folder of images is laid out: with the folders train/ and test/, or with those of its classes alone."""

from __future__ import annotations

import os
from pathlib import Path

SPLITS = ("train", "test")
VALIDATION = ("val", "valid", "validation", "dev")  # not read: validation images are held out of train/
LEFTOVERS = ("__MACOSX",)  # of archives


def unread_splits(root: Path) -> list[str]:
    """Folders beside train/ and test/ that other programs read validation images from, such as val/."""
    return [f"{name}/" for name in VALIDATION if (root / name).is_dir()]


def is_ignored(name: str) -> bool:
    """Whether an entry of a folder of classes is hidden, or left over from an archive."""
    return name.startswith(".") or name in LEFTOVERS


def has_splits(root: Path) -> bool:
    """Whether the images of `root` are in train/CLASS or test/CLASS, and not in CLASS."""
    return any(_is_split(root / name) for name in SPLITS)


def _is_split(folder: Path) -> bool:
    """A class may be called train, too: its folder has images in it, and no folders."""
    if not folder.is_dir():
        return False
    try:
        with os.scandir(folder) as entries:
            kinds = {entry.is_dir() for entry in entries if not is_ignored(entry.name)}
    except OSError:  # reported by who reads it
        return True
    return True in kinds or not kinds
