"""An experiment's own steps, traced by torch_xla on as many virtual devices as the TPU has cores, and not computed.

Started by workers.py: `python -m cifar_imbalance.preflight.trace`, a request as JSON on standard input, the answer as a
line of JSON. Model, optimiser, images and augmentation are those of `engine.prepared`; only the weights are new ones.
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

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from cifar_imbalance.configuration.fields import Schedule, TrainConfig
from cifar_imbalance.engine.assembled import make_loop
from cifar_imbalance.engine.loop import Loop
from cifar_imbalance.engine.members import member_configs
from cifar_imbalance.engine.prepared import Prepared, prepare
from cifar_imbalance.engine.stacked_step import StackedStep
from cifar_imbalance.engine.step import EvaluationStep, Step
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


def steps_of(config: TrainConfig, *, train: int, validation: int | None, test: int, classes: int) -> dict[str, int]:
    """The steps of the whole experiment by kind, for so many images: epochs, the evaluation after each, the last one.

    Stacked members are trained in one step and evaluated one by one; others do all of it one after another.
    `validation` is the number of images that are evaluated after each epoch, if any; those of dataset.validation=test
    are the test images, which the end evaluates alone. The `classes` are those with training images, of which
    controller=cuda classifies some before each epoch: counted are those of level 0, the fewest.
    """
    size = config.training.eval_batch_size
    each = 0 if validation is None else ceil(validation / size)
    cuda = config.controller.cuda if config.controller.name == "cuda" else None
    before = 0 if cuda is None else ceil(cuda.draws * classes / size)
    last = ceil(test / size) + (each if config.dataset.validation == "holdout" else 0)
    steps = steps_per_epoch(train, config.training.batch_size)
    members = config.ensemble.members
    times = 1 if config.ensemble.together == "stacked" else members
    return {
        **{kind: times * epochs * steps for kind, epochs in epochs_of(config).items()},
        EVALUATION: members * (config.training.epochs * (before + each) + last),
    }


def traced(config: TrainConfig, prepared: Prepared, request: Request) -> tuple[bytes, dict[str, Any]]:
    """The program of a step, and what is known of it: blocks left out, bytes beside it in each core's memory."""
    training = replace(config.training)
    setattr(training, "eval_batch_size" if request.kind == EVALUATION else "batch_size", request.batch_size)
    configs = member_configs(replace(config, training=training))
    if config.ensemble.together != "stacked":
        configs = configs[:1]  # the others' steps are the same
    built = [copy.deepcopy(prepared.built) for _ in configs]
    removed = 0 if request.kept is None else max(keep_blocks(one.module, request.kept) for one in built)
    with TemporaryDirectory() as folder:
        nowhere = RunFolder(Path(folder))
        loops = [
            make_loop(own, replace(prepared, built=model), nowhere) for own, model in zip(configs, built, strict=True)
        ]
    program, beside = (_evaluated if request.kind == EVALUATION else _trained)(loops, prepared, request.kind)
    return program, {"removed_blocks": removed, "beside_bytes": beside}


def _trained(loops: list[Loop], prepared: Prepared, kind: str) -> tuple[bytes, int]:
    """The first step of such an epoch, of all members if they are stacked, and the bytes that it does not use."""
    first, runtime = loops[0], prepared.runtime
    epoch = next(epoch for epoch in range(first.config.training.epochs) if _kind(first.config.schedule, epoch) == kind)
    plans = [loop.plan(epoch).first(1) for loop in loops]
    unused = first.training_step.images.nbytes if first.policy.on_host else 0  # the host's stage sends its own
    step: Step = first.training_step
    if len(loops) > 1:
        for loop in loops:
            loop.training_step.share_images(first.training_step)
        step = stacked = StackedStep([loop.training_step for loop in loops])
        stacked.begin_epoch(plans)
        unused += sum(map(_held_bytes, loops))
    else:
        first.training_step.begin_epoch(plans[0])

    def state() -> list[Tensor]:
        update = step.update
        average = {} if update.average is None else update.average.mean
        return [step.records, *_tensors([update.parameters, update.buffers, average, update.optimizer.state])]

    assert isinstance(runtime, TracingRuntime)
    return runtime.traced(lambda: step(0), state), unused


def _evaluated(loops: list[Loop], prepared: Prepared, kind: str) -> tuple[bytes, int]:
    """The evaluation of a batch by one model, and the bytes that lie there for training and of other members."""
    loop, runtime = loops[0], prepared.runtime
    step = loop.validation_step
    if step is None:  # after the last epoch alone
        step = EvaluationStep(loop.network, prepared.data.test.images, loop.config.training.eval_batch_size)
    held = sum(map(_held_bytes, loops)) * (1 if len(loops) == 1 else 2)  # a stack has a copy of its members' state
    evaluated = sum(tensor.nbytes for tensor in _tensors(loop.reported.state_dict()))
    assert isinstance(runtime, TracingRuntime)
    program = runtime.traced(partial(step, loop.reported), list)
    return program, held - evaluated + loop.training_step.images.nbytes


def _held_bytes(loop: Loop) -> int:
    """Of a run's weights, their average and its optimiser's state."""
    average = {} if loop.average is None else loop.average.state_dict()
    state = _tensors([loop.network.module.state_dict(), average, loop.optimizer.state])
    return sum(tensor.nbytes for tensor in state)


def _tensors(state: Any) -> list[Tensor]:
    """Those in mappings and lists, however deep."""
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, Mapping) else state if isinstance(state, list) else []
    return [tensor for part in parts for tensor in _tensors(part)]


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
            classes=int(np.count_nonzero(data.train.class_counts)),
        ),
        "train_images": len(data.train.labels),
        "parameters": sum(p.numel() for p in prepared.built.module.parameters()),
        "input_size": list(prepared.built.input_size),
        "torch": torch.__version__,
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
