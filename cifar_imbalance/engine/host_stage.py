"""The part of the augmentation that runs on the host: batches are prepared some steps ahead, in a thread of its own."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.engine.epoch import EpochPlan
from cifar_imbalance.methods.mixing import PARTNERS_FROM_ALL, of_partners

AHEAD = 8  # steps


class HostStage:
    """Prepares the images of each step of an epoch, by the plan's draws alone, so that it does not matter when."""

    def __init__(self, images: UInt8[np.ndarray, "all height width 3"], policy: Policy, mixing: str) -> None:
        self._images, self._policy = images, policy
        self._with_partners = mixing in PARTNERS_FROM_ALL
        # One thread of torch's: more would compete with the step's.
        self._pool = ThreadPoolExecutor(1, "host stage", torch.set_num_threads, (1,))
        self._futures: dict[int, Future[dict[str, Tensor]]] = {}

    def begin_epoch(self, plan: EpochPlan) -> None:
        for future in self._futures.values():
            future.cancel()
        self._plan, self._futures = plan, {}

    def batch(self, position: int) -> dict[str, Tensor]:
        """The images of the step at this `position`, uint8 [batch, height, width, 3], and where they are drawn from all
        images those of the partners, under "host.images" and "mixing.host.images"."""
        for ahead in range(position, min(position + AHEAD, len(self._plan))):
            if ahead not in self._futures:
                self._futures[ahead] = self._pool.submit(self._prepared, self._plan, ahead)
        return self._futures.pop(position).result()

    def _prepared(self, plan: EpochPlan, position: int) -> dict[str, Tensor]:
        draws = {name: values[position] for name, values in plan.draws.items()}
        found = {"host.images": self._policy.prepare(self._images[plan.indices[position]], draws)}
        if self._with_partners:
            partners = self._images[draws["mixing.partner"]]
            found["mixing.host.images"] = self._policy.prepare(partners, of_partners(draws))
        return {name: torch.from_numpy(images) for name, images in found.items()}
