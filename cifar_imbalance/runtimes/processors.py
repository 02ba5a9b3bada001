"""Which forms are fastest on which processor: measured, not derived.

The step of EfficientNets at 32 and 64 px, one and two threads, interleaved; docs/results/README.md has the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cifar_imbalance.configuration.hardware import processor


@dataclass(frozen=True)
class Processor:
    """A row of the table. environment.json has the `name` of the one that a run used."""

    name: str
    vendor: str  # of /proc/cpuinfo; "" is any
    instructions: str  # of torch.backends.cpu.get_cpu_capability(); "" is any
    product_map: int
    """The largest map, in pixels, on which a pointwise convolution is fastest as a matrix product."""
    measured_on: str


PROCESSORS = (
    Processor("AMD AVX512", "AuthenticAMD", "AVX512", 4, "EPYC, Zen 4"),
    Processor("Intel AVX512", "GenuineIntel", "AVX512", 256, "Xeon, Sapphire Rapids"),
    Processor("AMD AVX2", "AuthenticAMD", "AVX2", 64, "EPYC without AVX-512, and Zen 4 limited to AVX2"),
    Processor("any", "", "", 16, "no processor of its own: between the others"),
)


def this_processor() -> Processor:
    """The first row that fits this machine."""
    found = (processor("vendor_id"), torch.backends.cpu.get_cpu_capability())
    return next(
        row
        for row in PROCESSORS
        if all(want in ("", have) for want, have in zip((row.vendor, row.instructions), found, strict=True))
    )
