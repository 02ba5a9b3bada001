"""Randomness by key: every draw comes from (seed, purpose, epoch, step) and from nothing else.

Draws are made on the host with numpy's Philox, a counter-based generator, so they do not depend on the device, on the
number of devices or on where a run was resumed, and there is no generator state to save.
"""

from __future__ import annotations

import hashlib

import numpy as np


def _words(seed: int, purpose: str, indices: tuple[int, ...]) -> bytes:
    text = "/".join([str(seed), purpose, *(str(index) for index in indices)])
    return hashlib.sha256(text.encode()).digest()


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """A separate generator for this key, e.g. `generator(seed, "order", epoch)`."""
    words = np.frombuffer(_words(seed, purpose, indices)[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=words))


def integer(seed: int, purpose: str, *indices: int) -> int:
    """A 31-bit seed for a generator that is not numpy's (torch's, for weights and dropout)."""
    return int.from_bytes(_words(seed, purpose, indices)[:4], "little") & 0x7FFF_FFFF
