"""The steps of an experiment, traced and compiled; of a deep model, by short ones in its place."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cifar_imbalance.configuration.fields import Preflighting, TrainConfig
from cifar_imbalance.configuration.tpus import Topology
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.preflight.cache import Cache
from cifar_imbalance.preflight.compiled import CompiledStep, extrapolated
from cifar_imbalance.preflight.trace import Request
from cifar_imbalance.preflight.workers import answer_of

log = logging.getLogger(__name__)

STAND_INS = (0, 1)  # blocks of each row of alike ones


@dataclass(frozen=True)
class KnownStep:
    """A step as far as it is known: compiled, or the compiler's reason; bytes beside it in each core's memory."""

    step: CompiledStep | None
    reason: str | None
    compile_seconds: float
    beside_bytes: float
    removed_blocks: int  # of the shortest model that was compiled in its place

    @property
    def memory_bytes(self) -> int | None:
        return None if self.step is None else int(self.step.memory_bytes + self.beside_bytes)


class Steps:
    """Traces and compiles the steps of `experiment`, each once; their programs are files in `folder`."""

    def __init__(self, config: Preflighting, experiment: TrainConfig, folder: Path) -> None:
        self._topology = Topology(config.topology)
        self._kept: tuple[int | None, ...] = (*STAND_INS, None) if config.stand_in else (None,)
        self._experiment = experiment
        self._folder = folder
        self._cache = Cache(expanded(experiment.dataset.cache_dir, "dataset.cache_dir") / "preflight")
        self._programs: dict[str, dict[str, Any]] = {}
        self.described: dict[str, Any] = {}  # what the last tracing told of the experiment

    def trace(self, steps: Iterable[tuple[str, int]]) -> None:
        """Trace the steps of these kinds at these batch sizes. Raises UsageError where images or model refuse them."""
        requests = [Request(kind, size, kept) for kind, size in steps for kept in self._kept]
        log.info("tracing on %d virtual devices: %s", self._topology.cores, ", ".join(one.name for one in requests))
        asked = {
            "config": asdict(self._experiment),
            "requests": [asdict(one) for one in requests],
            "folder": str(self._folder),
        }
        self.described = answer_of("trace", asked, lambda seconds: log.info("tracing: %.0f s so far", seconds))
        self._programs |= self.described["programs"]

    def known(self, kind: str, batch_size: int) -> KnownStep:
        """The step, compiled now unless it is known."""
        requests = [Request(kind, batch_size, kept) for kept in self._kept]
        if any(request.name not in self._programs for request in requests):
            self.trace([(kind, batch_size)])
        answers = [self._compiled(request) for request in requests[: len(STAND_INS)]]
        reasons = [answer["reason"] for answer in answers if answer["reason"] is not None]
        return KnownStep(
            step=None if reasons else self._whole([CompiledStep.of(answer) for answer in answers], requests),
            reason=reasons[0] if reasons else None,
            compile_seconds=sum(answer["seconds"] for answer in answers),
            beside_bytes=self._programs[requests[-1].name]["beside_bytes"],
            removed_blocks=self._programs[requests[0].name]["removed_blocks"],
        )

    def _whole(self, steps: list[CompiledStep], requests: list[Request]) -> CompiledStep:
        if len(steps) == 1:
            return steps[0]
        (short, longer), (of_short, of_longer, of_whole) = steps, [self._counted(request) for request in requests]
        return extrapolated(short, longer, of_short, of_longer, of_whole)

    def _compiled(self, request: Request) -> dict[str, Any]:
        return self._answer(request, self._topology.name, f"compiling for {self._topology.name}")

    def _counted(self, request: Request) -> dict[str, Any]:
        return self._answer(request, None, "counting what it computes")

    def _answer(self, request: Request, topology: str | None, doing: str) -> dict[str, Any]:
        program = Path(self._programs[request.name]["program"])
        if (kept := self._cache.read(program, topology)) is not None:
            log.info("%s: %s: known from an earlier pre-flight", request.name, doing)
            return kept
        log.info("%s: %s", request.name, doing)
        answer = answer_of(
            "compiler",
            {"program": str(program), "topology": topology},
            lambda seconds: log.info("%s: %s, %.0f s so far", request.name, doing, seconds),
        )
        self._cache.write(program, topology, answer)
        return answer
