"""Training a head alone: where base and images stay as they are, its inputs are computed once."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.engine.step import EvaluationStep, Network, State, looked_up
from cifar_imbalance.models.heads import CosineHead, base_and_head, head_prefixes, single_head, without_head

log = logging.getLogger(__name__)


def head_alone(config: TrainConfig, module: nn.Module) -> bool:
    """Whether an image's input to the head of `module` is the same in every epoch of the run."""
    model, augmentation = config.model, config.augmentation
    enabled = any(getattr(augmentation, name) is not None for name in augmentation.order)
    changing = enabled or config.mixing.name != "none" or model.drop_rate or model.drop_path_rate
    linear = isinstance(single_head(module), nn.Linear | CosineHead)  # others may need maps, not vectors
    if changing or model.freeze_ratio < 1 or not linear:
        return False
    base, _ = base_and_head(module)  # batch norms without parameters are not frozen
    return all(part in base for part in module.modules() if isinstance(part, _BatchNorm))


def features(
    network: Network, images: UInt8[np.ndarray, "all height width 3"], batch_size: int
) -> Float[np.ndarray, "all features"]:
    """What the head receives of each image in evaluation."""
    with without_head(network.module):
        step = EvaluationStep(network, images, batch_size)
        found: np.ndarray = step(network.module).numpy()
    return found


@dataclass(frozen=True)
class HeadNetwork(Network):
    """The head of `module` as a function of the network's state: its inputs, the features, take the place of images."""

    def gather(self, images: Float[Tensor, "all features"], indices: Int[Tensor, " batch"]) -> Tensor:
        return looked_up(images, indices)

    def as_inputs(self, images: Float[Tensor, "batch features"]) -> Tensor:
        return images

    def logits(
        self, parameters: State, buffers: State, images: Float[Tensor, "batch features"], seed: Tensor | None = None
    ) -> Tensor:
        head, (prefix,) = single_head(self.module), head_prefixes(self.module)
        assert head is not None
        own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
        with self.runtime.autocast():
            output = functional_call(head, own, (images,))
        return output.float()


def what_is_trained(
    config: TrainConfig, network: Network, train: np.ndarray, validation: np.ndarray | None
) -> tuple[Network, np.ndarray, np.ndarray | None]:
    """The network and the images, uint8 [n, height, width, 3], of the steps; of a run of the head alone, the head and
    the features of these images [n, features].
    """
    if not head_alone(config, network.module):
        return network, train, validation
    started, size = time.perf_counter(), config.training.eval_batch_size
    train = features(network, train, size)
    validation = None if validation is None else features(network, validation, size)
    seconds = time.perf_counter() - started
    log.info("the head alone is trained, on features computed once (%.1f s)", seconds)
    return HeadNetwork(**vars(network)), train, validation
