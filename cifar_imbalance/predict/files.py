"""Image files without labels, read as a run's own images were."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from cifar_imbalance.data.decode import SUFFIXES, Size, read_image
from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.errors import UsageError

log = logging.getLogger(__name__)


def image_files(place: Path) -> list[Path]:
    """The image itself, or all images in a folder and its folders, by name; hidden ones are left out.

    Raises UsageError if there are none.
    """
    if place.is_file():
        found = [place]
    else:
        found = [Path(folder) / name for folder, _, names in os.walk(place) for name in names]
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


def read_files(files: list[Path], size: Size, class_names: tuple[str, ...]) -> ImageSet:
    """The images, resized to `size` (height, width) without regard to their aspect ratio; their labels are unknown.

    The labels are 0. Raises UsageError for a file that cannot be read.
    """
    images = np.stack([read_image(file, size, field="images")[0] for file in files])
    count = len(files)
    return ImageSet(
        images=images,
        labels=np.zeros(count, dtype=np.int64),
        hashes=image_hashes(images),
        indices=np.arange(count, dtype=np.int64),
        class_names=class_names,
        source="files",
        files=tuple(map(str, files)),
    )
