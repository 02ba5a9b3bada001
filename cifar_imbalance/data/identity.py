"""The identity of images: hashes of their pixels, by which runs are paired whatever the files are called."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def image_hash(image: NDArray[np.uint8]) -> int:
    """8 bytes of blake2b of an image's shape and pixels, as a number. `image`: [height, width, 3]."""
    digest = hashlib.blake2b("x".join(map(str, image.shape)).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest(), "little")


def image_hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The hash of each image. `images`: [n, height, width, 3]; returns uint64 [n]."""
    return np.fromiter((image_hash(image) for image in images), dtype=np.uint64, count=len(images))


def sha256(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 of the arrays' bytes, one after the other, little-endian, in C order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
