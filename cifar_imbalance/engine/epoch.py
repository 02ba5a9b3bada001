"""The plan of an epoch: all inputs of its steps, made on the host by key before the first step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from cifar_imbalance import keys
from cifar_imbalance.augment.operator import Draws
from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.methods import mixing
from cifar_imbalance.methods.classes import Classes
from cifar_imbalance.methods.samplers import deferred_epochs, sample
from cifar_imbalance.methods.schedules import learning_rates, phase


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The plan of `epoch` (from 0); its length is the number of steps."""

    epoch: int
    indices: Int64[np.ndarray, "steps batch"]  # of the training images
    draws: Draws  # of augmentation and mixing, [steps, batch, ...] each
    rates: Float64[np.ndarray, " steps"]
    noise_seeds: list[int]  # of dropout and drop path, one per step
    classes: Classes
    phase: str  # of the schedule

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def batch_size(self) -> int:
        return self.indices.shape[1]

    @property
    def head_only(self) -> bool:
        """Whether only the head is trained in this epoch."""
        return self.phase == "burnin"

    def first(self, steps: int) -> EpochPlan:
        """The plan of only the first `steps`."""
        return replace(
            self,
            indices=self.indices[:steps],
            draws={name: values[:steps] for name, values in self.draws.items()},
            rates=self.rates[:steps],
            noise_seeds=self.noise_seeds[:steps],
        )


def plan_epoch(
    config: TrainConfig, epoch: int, *, labels: Int64[np.ndarray, " images"], classes: Classes, policy: Policy
) -> EpochPlan:
    """The plan of `epoch` for training images with these `labels`. Pure: the same arguments give the same plan."""
    seed, training = config.seed, config.training
    epochs, batch_size = training.epochs, training.batch_size
    indices = sample(labels, config.sampler, seed=seed, epoch=epoch, epochs=epochs, batch_size=batch_size)
    if epoch < deferred_epochs(config.class_weights.defer, epochs):
        classes = replace(classes, weight=(classes.counts > 0).astype(np.float64))
    steps = len(indices)
    draws = policy.draw(seed, epoch, labels=labels[indices], levels=classes.level)
    draws |= mixing.draw(
        config.mixing,
        keys.generator(seed, "mixing", epoch),
        labels,
        indices,
        height=policy.height,
        width=policy.width,
        active=epoch < deferred_epochs(config.mixing.until, epochs),
    )
    if config.mixing.name in mixing.PARTNERS_FROM_ALL:
        of_partners = labels[draws["mixing.partner"]]
        second = policy.draw(seed, epoch, labels=of_partners, levels=classes.level, purpose="mixing.augmentation")
        draws |= {f"mixing.{name}": values for name, values in second.items()}
    return EpochPlan(
        epoch=epoch,
        indices=indices,
        draws=draws,
        rates=learning_rates(config.schedule, epoch=epoch, steps_per_epoch=steps, epochs=epochs),
        noise_seeds=[keys.integer(seed, "noise", epoch, step) for step in range(steps)],
        classes=classes,
        phase=phase(config.schedule, epoch),
    )
