"""The rows of the benchmark: each is a callable that runs some training steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision import transforms

from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.fields import (
    BenchmarkConfig,
    Dataset,
    Optimizer,
    Schedule,
    TrainConfig,
    Training,
)
from cifar_imbalance.data.experiment_data import ExperimentData
from cifar_imbalance.data.image_sets import ImageSet
from cifar_imbalance.engine.assembled import make_loop
from cifar_imbalance.engine.prepared import Prepared
from cifar_imbalance.engine.step import Network
from cifar_imbalance.methods.optimizers import fresh_state, load_state, make_optimizer
from cifar_imbalance.models.build import BuiltModel, build_model
from cifar_imbalance.runs.folder import claim
from cifar_imbalance.runtimes.base import DeviceRuntime
from cifar_imbalance.terminal import LiveLine

Steps = Callable[[], object]
ADAM = Optimizer(name="adam")
LEARNING_RATE = 0.001


def random_images(config: BenchmarkConfig, count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [count, side, side, 3] and labels [count]; the time of a step does not depend on their content."""
    generator = np.random.default_rng(0)
    side = config.image_size
    images = generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return images, generator.integers(config.class_count, size=count)


def built(config: BenchmarkConfig) -> BuiltModel:
    side = config.image_size
    return build_model(config.model, class_count=config.class_count, image_size=(side, side), seed=0)


# ---------------------------------------------------------------- ours
def bare_step(config: BenchmarkConfig, runtime: DeviceRuntime) -> Steps:
    """Model, loss, gradient and optimiser on one batch that is already on the device, as in the training step."""
    host = built(config)
    state = fresh_state(host.module, ADAM)
    network = Network.on_device(host, runtime)
    module = network.module.train()
    rate = runtime.learning_rate(runtime.place(torch.tensor(LEARNING_RATE)))
    optimizer = make_optimizer(module, ADAM, learning_rate=rate, variant=runtime.optimizer_variant())
    load_state(optimizer, state, runtime.place)
    runtime.prepare_optimizer(optimizer)
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    pixels, labels = random_images(config, config.batch_size)
    images = runtime.place_batch(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    targets = runtime.place_batch(torch.from_numpy(labels))

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(network.logits(parameters, buffers, images), targets)

    compiled = runtime.compiled(loss)

    def run() -> None:
        for _ in range(config.steps):
            compiled(parameters, buffers, images, targets).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            runtime.end_step()
        runtime.wait()

    return run


def whole_loop(config: BenchmarkConfig, runtime: DeviceRuntime) -> Steps:
    """An epoch of the training loop: order, draws, gather, augmentation and records included."""
    images, labels = random_images(config, config.steps * config.batch_size)
    identity = np.arange(len(labels))
    names = tuple(str(label) for label in range(config.class_count))
    image_set = ImageSet(images, labels, identity.astype(np.uint64), identity, names, "random")
    data = ExperimentData(image_set, None, image_set, [], {})
    training = TrainConfig(
        dataset=Dataset(name="random", validation="none"),
        augmentation=config.augmentation,
        model=config.model,
        optimizer=ADAM,
        schedule=Schedule(name="constant", max_lr=LEARNING_RATE),
        training=Training(batch_size=config.batch_size),
        runtime=config.runtime,
    )
    policy = Policy(config.augmentation, height=config.image_size, width=config.image_size)
    with TemporaryDirectory() as folder:
        run = claim(Path(folder) / "run", training, [])
        loop = make_loop(training, Prepared(runtime, data, policy, built(config), teacher=None), run)
    live = LiveLine(Console(quiet=True), steps=config.steps, done=0)
    return lambda: loop.train_epoch(loop.plan(0), live)


# ---------------------------------------------------------------- peers
def plain_step(config: BenchmarkConfig, runtime: DeviceRuntime, *, channels_last_fused: bool) -> Steps:
    """timm's model and torch's Adam unchanged on one batch; or both in the forms known to be faster."""
    memory_format = torch.channels_last if channels_last_fused else torch.contiguous_format
    module = _timm_model(config).to(runtime.device)
    module = module.to(memory_format=memory_format)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=channels_last_fused or None)
    pixels, labels = random_images(config, config.batch_size)
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).to(
        runtime.device, memory_format=memory_format
    )
    targets = runtime.place(torch.from_numpy(labels))

    def run() -> None:
        for _ in range(config.steps):
            _tutorial_step(module, optimizer, images, targets, runtime)
        runtime.wait()

    return run


def dataloader_loop(config: BenchmarkConfig, runtime: DeviceRuntime) -> Steps:
    """The usual tutorial: torchvision's transforms on each image, in the worker processes of a DataLoader."""
    module = _timm_model(config).to(runtime.device)
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    pixels, labels = random_images(config, config.steps * config.batch_size)
    loader = torch.utils.data.DataLoader(
        _Images(pixels, labels),
        batch_size=config.batch_size,
        shuffle=True,
        num_workers=min(2, config.runtime.threads or 2),
        persistent_workers=True,
    )

    def run() -> None:
        for images, targets in loader:
            loss = _tutorial_step(module, optimizer, runtime.place(images), runtime.place(targets), runtime)
            loss.item()  # tutorials keep a running loss
        runtime.wait()

    return run


class _Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images as in torchvision's CIFAR: PIL images that are transformed when they are read."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images, self._labels = images, labels
        self._transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(contrast=0.2, saturation=0.5),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
                transforms.RandomErasing(p=1.0, scale=(0.06, 0.06), ratio=(1.0, 1.0)),
            ]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._images[index])), int(self._labels[index])


def _timm_model(config: BenchmarkConfig) -> nn.Module:
    rates = {"drop_rate": config.model.drop_rate, "drop_path_rate": config.model.drop_path_rate}
    optional: dict[str, Any] = {name: rate for name, rate in rates.items() if rate}
    return timm.create_model(config.model.name, num_classes=config.class_count, **optional).train()


def _tutorial_step(
    module: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor, runtime: DeviceRuntime
) -> Tensor:
    optimizer.zero_grad()
    with runtime.autocast():
        loss = cross_entropy(module(images), targets)
    loss.backward()
    optimizer.step()
    return loss
