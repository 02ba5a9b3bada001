"""An experiment's own steps, traced by torch_xla on as many virtual devices as the TPU has cores, and not computed.

Started by workers.py: `python -m cifar_imbalance.preflight.trace`, a request as JSON on standard input, the answer as a
line of JSON. Model, optimiser, images and augmentation are those of `engine.experiment`; only the weights are new ones.
"""

from __future__ import annotations

import copy
import gc
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from cifar_imbalance.configuration.fields import Schedule, TrainConfig
from cifar_imbalance.engine.experiment import Prepared, make_loop, prepare
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.step import EvaluationStep
from cifar_imbalance.errors import UsageError
from cifar_imbalance.methods.samplers import steps_per_epoch
from cifar_imbalance.methods.schedules import phase
from cifar_imbalance.preflight.stand_in import keep_blocks
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runtimes.xla import TracingRuntime

BURNIN, TRAINING, EVALUATION = "burn-in", "training", "evaluation"


@dataclass(frozen=True)
class Request:
    """A step of one kind, with a global batch of `batch_size`; `kept` of alike blocks, null for the whole model."""

    kind: str
    batch_size: int
    kept: int | None

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.batch_size}_{'whole' if self.kept is None else self.kept}"


def epochs_of(config: TrainConfig) -> dict[str, int]:
    """How many epochs have each kind of training step: in a burn-in the head alone is trained."""
    kinds = [_kind(config.schedule, epoch) for epoch in range(config.training.epochs)]
    return {kind: kinds.count(kind) for kind in (BURNIN, TRAINING) if kind in kinds}


def _kind(schedule: Schedule, epoch: int) -> str:
    return BURNIN if phase(schedule, epoch) == "burnin" else TRAINING


def steps_of(config: TrainConfig, *, train: int, validation: int | None, test: int) -> dict[str, int]:
    """The steps of the whole experiment by kind, for so many images: epochs, the evaluation after each, the last one.

    `validation` is the number of images that are evaluated after each epoch, if any; those of dataset.validation=test
    are the test images, which the end evaluates alone.
    """
    size = config.training.eval_batch_size
    each = 0 if validation is None else ceil(validation / size)
    last = ceil(test / size) + (each if config.dataset.validation == "holdout" else 0)
    steps = steps_per_epoch(train, config.training.batch_size)
    return {
        **{kind: epochs * steps for kind, epochs in epochs_of(config).items()},
        EVALUATION: config.training.epochs * each + last,
    }


def traced(config: TrainConfig, prepared: Prepared, request: Request) -> tuple[bytes, dict[str, Any]]:
    """The program of a step, and what is known of it: blocks left out, bytes beside it in each core's memory."""
    training = replace(config.training)
    setattr(training, "eval_batch_size" if request.kind == EVALUATION else "batch_size", request.batch_size)
    config = replace(config, training=training)
    built = copy.deepcopy(prepared.built)
    removed = 0 if request.kept is None else keep_blocks(built.module, request.kept)
    with TemporaryDirectory() as folder:
        nowhere = RunFolder(Path(folder))
        loop = make_loop(
            config, prepared.runtime, nowhere, prepared.data, prepared.policy, built, None, prepared.teacher
        )
    program, beside = (_evaluated if request.kind == EVALUATION else _trained)(loop, prepared, request.kind)
    return program, {"removed_blocks": removed, "beside_bytes": beside}


def _trained(loop: Loop, prepared: Prepared, kind: str) -> tuple[bytes, int]:
    """The first step of such an epoch, and the bytes that it does not use."""
    assert isinstance(prepared.runtime, TracingRuntime)
    schedule, epochs = loop.config.schedule, range(loop.config.training.epochs)
    epoch = next(epoch for epoch in epochs if _kind(schedule, epoch) == kind)
    loop.training_step.begin_epoch(loop.plan(epoch).first(1))
    unused = loop.train.images.nbytes if loop.policy.on_host else 0  # the host's stage sends its own

    def state() -> list[Tensor]:
        average = {} if loop.average is None else loop.average.state_dict()
        changed = [loop.network.module.state_dict(), average, loop.optimizer.state]
        return [loop.training_step.records, *(tensor for part in changed for tensor in _tensors(part))]

    return prepared.runtime.traced(lambda: loop.training_step(0), state), unused


def _evaluated(loop: Loop, prepared: Prepared, kind: str) -> tuple[bytes, int]:
    """The evaluation of a batch, and the bytes that lie there for training."""
    assert isinstance(prepared.runtime, TracingRuntime)
    step = loop.validation_step
    if step is None:  # after the last epoch alone
        step = EvaluationStep(loop.network, prepared.data.test.images, loop.config.training.eval_batch_size)
    unused = sum(tensor.nbytes for tensor in _tensors(loop.optimizer.state)) + loop.train.images.nbytes
    if loop.average is not None:
        unused += sum(tensor.nbytes for tensor in _tensors(loop.network.module.state_dict()))
    return prepared.runtime.traced(partial(step, loop.reported), list), unused


def _tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    return [tensor for inner in state.values() for tensor in _tensors(inner)] if isinstance(state, Mapping) else []


def main() -> None:
    asked = json.loads(sys.stdin.read())
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), asked["config"]))
    assert isinstance(config, TrainConfig)
    # What they are does not matter, and without them there is nothing to download.
    config = replace(config, model=replace(config.model, pretrained=False, weights=None))
    folder = Path(asked["folder"])
    try:
        prepared = prepare(config, runtime=TracingRuntime(config.runtime))
    except UsageError as error:
        print(json.dumps({"refused": str(error)}), flush=True)
        return
    data = prepared.data
    programs = {}
    for request in [Request(**one) for one in asked["requests"]]:
        program, known = traced(config, prepared, request)
        file = folder / f"{request.name}.hlo"
        file.write_bytes(program)
        programs[request.name] = {"program": str(file), **known}
        gc.collect()  # a model's tensors refer to each other
    answer = {
        "programs": programs,
        "steps": steps_of(
            config,
            train=len(data.train.labels),
            validation=None if data.validation is None else len(data.validation.labels),
            test=len(data.test.labels),
        ),
        "train_images": len(data.train.labels),
        "parameters": sum(p.numel() for p in prepared.built.module.parameters()),
        "input_size": list(prepared.built.input_size),
        "torch": torch.__version__,
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
