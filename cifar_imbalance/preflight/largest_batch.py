"""The largest batch that fits into a core's memory, found with few compilations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MOST_TRIES = 4


@dataclass(frozen=True)
class LargestBatch:
    fits: int | None  # the largest that was found to fit; None if none was
    too_large: int | None  # the smallest that was found not to fit
    bytes_of: dict[int, int | None]  # of each batch that was tried; None if the compiler refused it


def largest_batch(
    memory: Callable[[int], int | None], *, first: int, multiple: int, most: int, capacity: int, tries: int = MOST_TRIES
) -> LargestBatch:
    """Search the batch sizes, multiples of `multiple` up to `most`, for the largest that fits, beginning with `first`.

    `memory(batch)` gives a core's bytes, or None where the compiler refuses the batch. Two batches tell how the bytes
    grow; the batch that fills the `capacity` by that line is tried next, and so on, `tries` batches in all.
    """
    found: dict[int, int | None] = {}

    def fits(batch: int) -> bool:
        return (used := found[batch]) is not None and used <= capacity

    def down(batch: float) -> int:
        return max(multiple, min(int(batch), most) // multiple * multiple)

    batch = down(first)
    while len(found) < tries and batch not in found:
        found[batch] = memory(batch)
        known = sorted((size, used) for size, used in found.items() if used is not None)
        low = max((size for size in found if fits(size)), default=0)
        high = min((size for size in found if not fits(size)), default=down(most) + multiple)
        if high - low <= multiple:
            break
        if len(known) >= 2 and known[-1][1] > known[-2][1]:
            (small, less), (large, more) = known[-2:]
            batch = max(low + multiple, down(small + (capacity - less) * (large - small) / (more - less)))
        else:
            batch = down(2 * low if low else high / 2)
        if not low < batch < high:  # the line leads beyond what was refused
            batch = down((low + high) / 2)
    return LargestBatch(
        fits=max((size for size in found if fits(size)), default=None),
        too_large=min((size for size in found if not fits(size)), default=None),
        bytes_of=dict(sorted(found.items())),
    )
