"""Image files without labels, read as a run's own images were."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cifar_imbalance.data.decode import SUFFIXES, Size, read_image
from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.errors import UsageError

log = logging.getLogger(__name__)

FAILURES_NAMED = 10


def image_files(place: Path) -> list[Path]:
    """The image itself, or all images in a folder and its folders, by name; hidden ones are left out.

    Raises UsageError if there are none.
    """
    if place.is_file():
        found = [place]
    else:
        found = list(_files_below(place))
        found = [file for file in found if not any(part.startswith(".") for part in file.relative_to(place).parts)]
    files = [file for file in found if file.is_file()]  # neither pipes nor broken links
    found = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
    others = {file.suffix.lower() or "no suffix" for file in files} - SUFFIXES
    if found and others:
        count, kinds = len(files) - len(found), ", ".join(sorted(others))
        log.info("%s: %d of %d files are not read as images (%s)", place, count, len(files), kinds)
    if not found:
        what = "there is no image in it" if place.is_dir() else "is no image"
        raise UsageError(f"images={place}: {what}; images are files that end in {', '.join(sorted(SUFFIXES))}")
    return found


def _files_below(place: Path) -> Iterator[Path]:
    """All files of a folder and its folders, linked ones included; each folder once."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(place, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(folder) / name for name in names)


def read_files(files: list[Path], size: Size, class_names: tuple[str, ...]) -> ImageSet:
    """Those of the images that can be read, resized to `size` (height, width) without regard to their aspect ratio.

    Their labels are unknown, and 0 here. Files that cannot be read are named in the log; raises UsageError if all are.
    """
    images, read, failures = [], [], []
    for file in files:
        try:
            images.append(read_image(file, size, field="images")[0])
            read.append(file)
        except UsageError as error:
            failures.append(str(error))
    if not read:
        raise UsageError(failures[0])
    for failure in failures[:FAILURES_NAMED]:
        log.warning("%s", failure)
    if failures:
        log.warning("images: %d of %d files cannot be read and are left out", len(failures), len(files))
    count, pixels = len(read), np.stack(images)
    return ImageSet(
        images=pixels,
        labels=np.zeros(count, dtype=np.int64),
        hashes=image_hashes(pixels),
        indices=np.arange(count, dtype=np.int64),
        class_names=class_names,
        source="files",
        files=tuple(map(str, read)),
    )
