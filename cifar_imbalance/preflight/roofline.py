"""From a compiled step to bounds: the roofline of one core (Williams 2009), images/s, the duration of an experiment.

None of these is a measurement. A step takes at least as long as the roofline says: waiting for other cores, for the
host, for small operations and for units that are not full comes on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cifar_imbalance.configuration.tpus import Chip


@dataclass(frozen=True)
class Roofline:
    """The time below which no step can be: that of its operations at the peak, or of its bytes at full bandwidth."""

    compute_seconds: float
    memory_seconds: float

    @classmethod
    def of(cls, chip: Chip, *, flops: float, hbm_bytes: float) -> Roofline:
        """Of what one core does in a step: floating-point operations, and bytes to and from its memory."""
        return cls(flops / chip.core_flops_per_second, hbm_bytes / chip.core_hbm_bytes_per_second)

    @property
    def seconds(self) -> float:
        return max(self.compute_seconds, self.memory_seconds)

    def images_per_second(self, batch_size: int) -> float:
        """At most so many, of a global batch of `batch_size` on all cores together."""
        return batch_size / self.seconds


def duration(steps: Mapping[str, int], seconds: Mapping[str, float]) -> float:
    """Seconds of all `steps` of an experiment, by kind, at so many seconds each."""
    return sum(count * seconds[kind] for kind, count in steps.items())
