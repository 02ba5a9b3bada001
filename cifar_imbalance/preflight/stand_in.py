"""A shallow model in the place of a deep one: of each row of alike blocks, only some."""

from __future__ import annotations

from itertools import groupby

from torch import nn


def keep_blocks(module: nn.Module, kept: int) -> int:
    """Keep `kept` blocks, from 0, of each row of alike blocks in the sequences of `module`; returns how many went.

    Blocks are alike if their layers with parameters are: same names, kinds, shapes and strides. In a row each takes
    what the one before it gives, so that all of them can go.
    """
    removed = 0
    for sequence in [part for part in module.modules() if isinstance(part, nn.Sequential)]:
        numbered = enumerate([_layers(block) for block in sequence])
        rows = [[number for number, _ in row] for layers, row in groupby(numbered, key=lambda one: one[1]) if layers]
        for number in sorted((number for row in rows if len(row) > 1 for number in row[kept:]), reverse=True):
            del sequence[number]
            removed += 1
    return removed


def _layers(block: nn.Module) -> list[tuple[str, type, str]]:
    """What a block computes by: name, kind, and settings with shapes of each of its layers that has parameters."""
    return [
        (name, type(part), part.extra_repr())
        for name, part in block.named_modules()
        if next(part.parameters(recurse=False), None) is not None
    ]
