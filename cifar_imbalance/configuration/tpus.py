"""Public facts of TPU chips, and the slices of one host that one process drives.

Sources: Google's pages on each generation, docs.cloud.google.com/tpu/docs/v2, .../v3, .../v4, .../v5e, .../v5p and
.../v6e (2026-11): peak compute in bfloat16, capacity and bandwidth of the HBM, TensorCores of a chip. Clocks: Jouppi
2023 (TPU v4, table 4); of v5e and v5p what their peak and the number and size of their matrix units make.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """A chip of one generation; what XLA sees as one device is called a core here.

    The two TensorCores of a v4 or v5p chip work as one device ("megacore"), those of v2 and v3 as two.
    """

    flops_per_second: float  # bfloat16
    hbm_bytes: int
    hbm_bytes_per_second: float
    cores: int
    hertz: float | None  # None where it is not public
    slices: tuple[str, ...]  # of one host

    @property
    def core_flops_per_second(self) -> float:
        return self.flops_per_second / self.cores

    @property
    def core_hbm_bytes(self) -> int:
        return self.hbm_bytes // self.cores

    @property
    def core_hbm_bytes_per_second(self) -> float:
        return self.hbm_bytes_per_second / self.cores


CHIPS = {
    "v2": Chip(45e12, 16 * GIB, 700e9, cores=2, hertz=700e6, slices=("2x2",)),
    "v3": Chip(123e12, 32 * GIB, 900e9, cores=2, hertz=940e6, slices=("2x2",)),
    "v4": Chip(275e12, 32 * GIB, 1200e9, cores=1, hertz=1050e6, slices=("2x2x1",)),
    "v5e": Chip(197e12, 16 * GIB, 819e9, cores=1, hertz=1.5e9, slices=("1x1", "2x2", "2x4")),
    "v5p": Chip(459e12, 95 * GIB, 2765e9, cores=1, hertz=1.75e9, slices=("2x2x1",)),
    "v6e": Chip(918e12, 32 * GIB, 1638e9, cores=1, hertz=None, slices=("1x1", "2x2", "2x4")),
}
TOPOLOGIES = tuple(f"{generation}:{size}" for generation, chip in CHIPS.items() for size in chip.slices)


@dataclass(frozen=True)
class Topology:
    """`GENERATION:SIZE`, such as v5e:2x4: a slice of 2 x 4 chips."""

    name: str

    @property
    def generation(self) -> str:
        return self.name.partition(":")[0]

    @property
    def chip(self) -> Chip:
        return CHIPS[self.generation]

    @property
    def sides(self) -> tuple[int, ...]:
        """Chips along each axis of the slice."""
        return tuple(int(side) for side in self.name.partition(":")[2].split("x"))

    @property
    def cores(self) -> int:
        return prod(self.sides) * self.chip.cores
