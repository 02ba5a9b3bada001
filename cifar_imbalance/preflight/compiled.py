"""What one core needs for a compiled step and does in it; of a deep model, extrapolated from two shallow ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

COUNTED_BY = {"flops": "flops", **dict.fromkeys(("argument_bytes", "output_bytes", "alias_bytes"), "argument_bytes")}


@dataclass(frozen=True)
class CompiledStep:
    """All of one core, and of one step."""

    flops: float
    hbm_bytes: float  # read from the core's memory and written to it
    argument_bytes: float  # weights, optimiser state, images, a share of the batch
    output_bytes: float
    alias_bytes: float  # of outputs that take the place of arguments
    temporary_bytes: float
    code_bytes: float
    estimated_cycles: float  # the compiler's own estimate

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> CompiledStep:
        """From the answer of compiler.py."""
        return cls(**{one.name: answer[one.name] for one in fields(cls)})

    @property
    def memory_bytes(self) -> float:
        new = self.output_bytes - self.alias_bytes
        return self.argument_bytes + new + self.temporary_bytes + self.code_bytes


def extrapolated(
    short: CompiledStep,
    longer: CompiledStep,
    of_short: Mapping[str, float],
    of_longer: Mapping[str, float],
    of_whole: Mapping[str, float],
) -> CompiledStep:
    """The step of a whole model, from those of two stand-ins with fewer blocks.

    Each quantity is taken as linear in one that is counted of all three before compilation: operations in `flops`,
    inputs and outputs in `argument_bytes`, the others in `bytes`.
    """
    values = {}
    for one in fields(CompiledStep):
        low, high = getattr(short, one.name), getattr(longer, one.name)
        by = COUNTED_BY.get(one.name, "bytes")
        difference = of_longer[by] - of_short[by]
        slope = (high - low) / difference if difference else 0.0
        values[one.name] = high + slope * (of_whole[by] - of_longer[by])
    return CompiledStep(**values)
