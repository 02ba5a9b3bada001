"""What a step does with its loss: gradient, clipping, optimiser, weight average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

State = dict[str, Tensor]
Clip = Callable[[list[Tensor]], object]  # changes the gradients of these parameters


def state_of(module: nn.Module) -> State:
    """The parameters and buffers of `module` themselves, by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


class WeightAverage:
    """An exponential moving average, kept in `mean`, of the parameters and batch-norm statistics in `source`."""

    def __init__(self, mean: State, source: State, decay: float) -> None:
        self.mean, self.decay = mean, decay
        self._source = source
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        pairs = [(mean, self._source[name]) for name, mean in self.mean.items()]
        floating = [(mean.detach(), new.detach()) for mean, new in pairs if mean.is_floating_point()]
        self._average([mean for mean, _ in floating], [new for _, new in floating], None)
        for mean, new in pairs:
            if not mean.is_floating_point():
                mean.copy_(new)


@dataclass(frozen=True)
class Update:
    """The state that a step changes, and how."""

    parameters: State
    buffers: State
    optimizer: torch.optim.Optimizer
    clip: Clip | None
    average: WeightAverage | None

    def __call__(self, loss: Tensor, rate: Tensor) -> None:
        """A step of the optimiser at this `rate`, a scalar, down the gradient of `loss`, a scalar."""
        loss.backward()
        if self.clip is not None:
            self.clip(list(self.parameters.values()))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
