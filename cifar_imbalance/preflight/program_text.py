"""What is counted in the text of a compiled program: bytes to and from a core's memory, the compiler's own cycles.

XLA's own cost analysis counts what each operation touches, wherever it lies; the time of a step depends on what crosses
to the HBM. In the text of a scheduled module every array has its layout, and one in on-chip memory has a memory space
in it, `S(1)`: `f32[8,128]{1,0:T(8,128)S(1)}`. Each instruction of the entry computation reads the operands and writes
the results that are in the HBM; of an operand of which it only looks up parts, it reads as much as it looks up.
Branches and loops count once.

The TPU's compiler writes the cycles that it expects beside most instructions. It documents neither how nor of what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

BITS = {
    **dict.fromkeys(("s4", "u4"), 4),
    **dict.fromkeys(("pred", "s8", "u8", "f8e4m3fn", "f8e5m2"), 8),
    **dict.fromkeys(("s16", "u16", "f16", "bf16"), 16),
    **dict.fromkeys(("s32", "u32", "f32"), 32),
    **dict.fromkeys(("s64", "u64", "f64", "c64"), 64),
    "c128": 128,
}
ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)(?= [\w\-]+\()|\S+) ([\w\-]+)\((.*)$")
NAME = re.compile(r"%([\w.\-]+)")
FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id")
LOOK_UPS = ("gather", "dynamic-slice", "slice")


@dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    kind: str
    operands: list[str]
    called: str | None


def hbm_bytes(text: str) -> int:
    """The bytes of one execution of the entry computation of a scheduled HLO module."""
    computations = dict(_computations(text))
    entry = computations.pop("ENTRY")
    shapes = {one.name: one.shape for one in entry}
    total = 0
    for one in entry:
        if one.kind in FREE or one.kind.endswith("-done"):
            continue
        inside = computations.get(one.called or "", [])
        for place, operand in enumerate(one.operands):
            whole = in_hbm(shapes.get(operand, ""))
            total += min(whole, looked_up) if (looked_up := _looked_up(one, inside, place)) is not None else whole
        total += in_hbm(_written(one))
    return total


def estimated_cycles(text: str) -> int:
    """The sum of the compiler's estimates, of the instructions of the entry computation that have one."""
    entry = text[text.index("\nENTRY ") :]
    return sum(int(cycles) for cycles in re.findall(r'"estimated_cycles":"(\d+)"', entry))


def in_hbm(shape: str) -> int:
    """The bytes of the arrays of a shape that lie in the HBM; the padding of layouts is left out."""
    return sum(_bytes(*array.groups()) for array in ARRAY.finditer(shape) if "S(" not in (array[3] or ""))


def _bytes(kind: str, sides: str, layout: str | None = None) -> int:
    return prod(int(side) for side in sides.split(",") if side) * BITS.get(kind, 0) // 8


def _written(one: _Instruction) -> str:
    """The shape of what an instruction writes: one that starts a copy also names its source and its state."""
    if not one.kind.endswith("-start") or one.kind == "all-reduce-start":
        return one.shape
    arrays = [array[0] for array in ARRAY.finditer(one.shape)]
    return arrays[0] if one.kind == "copy-start" else arrays[len(one.operands)]


def _looked_up(one: _Instruction, inside: list[_Instruction], place: int) -> int | None:
    """The bytes that an instruction looks up in its operand at `place`; None if it reads all of it."""
    if one.kind.removesuffix("-start") in LOOK_UPS:
        return _bytes_of(_written(one)) if place == 0 else None
    parameter = next((i.name for i in inside if i.kind == "parameter" and i.operands == [str(place)]), None)
    users = [user for user in inside if parameter is not None and parameter in user.operands]
    if users and all(user.kind in LOOK_UPS and user.operands[0] == parameter for user in users):
        return sum(_bytes_of(user.shape) for user in users)
    return None


def _bytes_of(shape: str) -> int:
    return sum(_bytes(*array.groups()) for array in ARRAY.finditer(shape))


def _computations(text: str) -> Iterator[tuple[str, list[_Instruction]]]:
    """The instructions of each computation of a module, by its name; those of the entry by ENTRY."""
    name: str | None = None
    found: list[_Instruction] = []
    for line in text.splitlines():
        if line.endswith("{") and (line.startswith(("%", "ENTRY "))):
            name = "ENTRY" if line.startswith("ENTRY ") else line[1:].partition(" ")[0]
            found = []
        elif line.startswith("}") and name is not None:
            yield name, found
            name = None
        elif name is not None and (match := INSTRUCTION.match(line)):
            found.append(_instruction(*match.groups()))


def _instruction(name: str, shape: str, kind: str, rest: str) -> _Instruction:
    inside = _until_closed(rest)
    called = re.search(r"\bcalls=%([\w.\-]+)", rest)
    operands = [inside] if kind == "parameter" else NAME.findall(inside)
    return _Instruction(name, shape, kind, operands, called[1] if called else None)


def _until_closed(text: str) -> str:
    """`text` up to the parenthesis that closes one opened before it."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[:place]
    return text
