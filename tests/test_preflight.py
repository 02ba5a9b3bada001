"""A pre-flight: what is arithmetic and text by exact values; a step that is truly compiled for a TPU, where jax is."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from cifar_imbalance.configuration import installed
from cifar_imbalance.configuration.fields import (
    Controller,
    CudaLevels,
    Dataset,
    FourPhases,
    Model,
    Schedule,
    TrainConfig,
    Training,
)
from cifar_imbalance.configuration.tpus import CHIPS, TOPOLOGIES, Topology
from cifar_imbalance.models.build import build_model
from cifar_imbalance.preflight.compiled import CompiledStep, extrapolated
from cifar_imbalance.preflight.largest_batch import largest_batch
from cifar_imbalance.preflight.program_text import estimated_cycles, hbm_bytes, in_hbm
from cifar_imbalance.preflight.report import preflight_text
from cifar_imbalance.preflight.roofline import Roofline, duration
from cifar_imbalance.preflight.stand_in import keep_blocks
from cifar_imbalance.preflight.trace import steps_of

ALL = ", ".join(TOPOLOGIES)
NAME = "cifar_imbalance.preflight"
needs_the_compiler = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch_xla", "jax", "libtpu")),
    reason="jax and libtpu are not installed: pip install -e '.[preflight]'",
)


@pytest.fixture
def with_the_extra(monkeypatch):
    """As if the extra was installed: nothing of it is used before the command line is checked."""
    monkeypatch.setattr(installed, "find_spec", lambda name: True)


# ---------------------------------------------------------------- topologies
@pytest.mark.parametrize(
    ("name", "sides", "cores", "gib"),
    [
        ("v5e:2x4", (2, 4), 8, 16),
        ("v6e:1x1", (1, 1), 1, 32),
        ("v4:2x2x1", (2, 2, 1), 4, 32),  # two TensorCores work as one
        ("v3:2x2", (2, 2), 8, 16),  # two cores of a chip share its 32 GiB
        ("v2:2x2", (2, 2), 8, 8),
        ("v5p:2x2x1", (2, 2, 1), 4, 95),
    ],
)
def test_a_topology_has_chips_along_its_sides_and_cores(name, sides, cores, gib):
    topology = Topology(name)
    assert (topology.sides, topology.cores) == (sides, cores)
    assert topology.chip.core_hbm_bytes == gib * 2**30


def test_the_cores_of_a_chip_share_what_it_has():
    assert (CHIPS["v3"].core_flops_per_second, CHIPS["v3"].core_hbm_bytes_per_second) == (61.5e12, 450e9)
    assert (CHIPS["v5e"].core_flops_per_second, CHIPS["v5e"].core_hbm_bytes_per_second) == (197e12, 819e9)


# ---------------------------------------------------------------- the command line
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("experiment=quickstart", f"topology: a value is missing; write topology=NAME: {ALL}"),
        ("experiment=quickstart topology=v5e:3x3", f"topology=v5e:3x3 (did you mean v5e:2x4?): allowed are {ALL}"),
        ("experiment=quickstart topology=h100", f"topology=h100: allowed are {ALL}"),
        (
            "experiment=quickstart topology=v5e:2x4 training.batch_size=20",
            "training.batch_size=20: a multiple of the number of devices is expected, which is 8 with topology=v5e:2x4",
        ),
        (
            "experiment=quickstart topology=v5e:2x2 training.eval_batch_size=3",
            "training.eval_batch_size=3: a multiple of the number of devices is expected, which is 4 with "
            "topology=v5e:2x2",
        ),
        (
            "experiment=quickstart topology=v5e:2x2 ensemble.members=2 ensemble.models=[resnet18,resnet34]",
            "ensemble.models=['resnet18', 'resnet34']: a pre-flight is of one step; allowed are members that differ in "
            "seed and weights alone",
        ),
        (
            "experiment=quickstart topology=v5e:2x2 ensemble.members=2 ensemble.together=workers",
            "ensemble.together=workers: processes share a CPU alone; with runtime=xla allowed are one_by_one, stacked",
        ),
        (
            "experiment=quickstart topology=v5e:2x2 runtime=xla",
            "runtime: has no effect on a pre-flight, which trains nothing and runs on no device",
        ),
        (
            "experiment=quickstart topology=v5e:2x2 runtime.name=cpu",
            "runtime.name: has no effect on a pre-flight, which trains nothing and runs on no device",
        ),
        (
            "experiment=quickstart topology=v5e:2x2 logger=tensorboard",
            "logger: has no effect on a pre-flight, which trains nothing and runs on no device",
        ),
        ("experiment=quickstart topology=v5e:2x2 output=", "output=: a folder is expected"),
        (
            "experiment=quickstart topology=v5e:2x2 schedule.max_lr=-1",
            "schedule.max_lr=-1.0: allowed is more than 0",
        ),
    ],
)
def test_a_mistake_is_refused_in_one_line_before_any_work(typed, tmp_path, with_the_extra, words, line):
    answer = typed(tmp_path, "preflight", *words.split())
    assert (answer.code, answer.out, answer.err) == (2, "", f"{NAME}: {line}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["torch_xla", "jax", "libtpu"])
def test_without_the_extra_one_line_says_what_to_install(typed, tmp_path, monkeypatch, missing):
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == missing else True)
    answer = typed(tmp_path, "preflight", "experiment=quickstart", "topology=v5e:2x2")
    line = f"{NAME}: topology=v5e:2x2: {missing} is not installed; pip install -e '.[preflight]' installs it\n"
    assert (answer.code, answer.out, answer.err) == (2, "", line)


def test_help_needs_no_extra(typed, tmp_path, monkeypatch):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    answer = typed(tmp_path, "preflight", "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "python -m cifar_imbalance.preflight experiment=exp2 topology=v5e:2x2" in answer.out
    assert "A bound is not a measurement." in answer.out
    assert "topology: ???  # v2:2x2, v3:2x2, v4:2x2x1" in answer.out
    assert "\nruntime:\n  precision: float32  # float32, bfloat16\n" in answer.out  # what else a run has is not listed
    assert not re.search(r"^(logger|resume|checkpoint|plots)|^  runtime ", answer.out, re.MULTILINE)


# ---------------------------------------------------------------- arithmetic
def test_the_roofline_is_the_slower_of_operations_and_bytes():
    bound = Roofline.of(CHIPS["v5e"], flops=197e9, hbm_bytes=8.19e9)  # 1 ms at the peak, 10 ms at full bandwidth
    assert (bound.compute_seconds, bound.memory_seconds) == (0.001, 0.01)
    assert (bound.seconds, bound.images_per_second(128)) == (0.01, 12_800)
    bound = Roofline.of(CHIPS["v3"], flops=61.5e9, hbm_bytes=45e6)  # of one of two cores: 1 ms and 0.1 ms
    assert (bound.seconds, bound.images_per_second(128)) == (0.001, 128_000)


def test_the_duration_is_steps_by_their_seconds():
    steps = {"burn-in": 3 * 390, "training": 35 * 390, "evaluation": 38 * 79 + 79}
    assert duration(steps, {"burn-in": 0.1, "training": 0.2, "evaluation": 0.05}) == pytest.approx(117 + 2730 + 154.05)


def four_phases():
    phases = FourPhases(burnin_epochs=3, warmup_epochs=1, flat_epochs=1, cooldown_epochs=33)
    return Schedule(name="four_phases", four_phases=phases)


def test_the_steps_of_an_experiment_are_epochs_evaluations_and_the_last_one():
    config = TrainConfig(dataset=Dataset(name="cifar10", validation="test"), schedule=four_phases())
    config.training = Training(epochs=38, batch_size=128, eval_batch_size=128)
    found = steps_of(config, train=50_000, validation=10_000, test=10_000, classes=10)
    assert found == {"burn-in": 3 * 390, "training": 35 * 390, "evaluation": 38 * 79 + 79}
    config.dataset.validation, config.schedule.name = "holdout", "constant"
    found = steps_of(config, train=45_000, validation=5_000, test=10_000, classes=10)
    assert found == {"training": 38 * 351, "evaluation": 38 * 40 + 79 + 40}
    cuda = replace(config, controller=Controller(name="cuda", cuda=CudaLevels(draws=100)))  # 1,000 images of level 0
    of_cuda = steps_of(cuda, train=45_000, validation=5_000, test=10_000, classes=10)
    assert of_cuda == {**found, "evaluation": found["evaluation"] + 38 * 8}
    config.ensemble.members = 5
    assert steps_of(config, train=45_000, validation=5_000, test=10_000, classes=10) == {
        k: 5 * n for k, n in found.items()
    }
    config.ensemble.together = "stacked"
    stacked = steps_of(config, train=45_000, validation=5_000, test=10_000, classes=10)
    assert stacked == {"training": found["training"], "evaluation": 5 * found["evaluation"]}
    config.ensemble.members, config.dataset.validation = 1, "none"
    assert steps_of(config, train=50_000, validation=None, test=10_000, classes=10)["evaluation"] == 79


# ---------------------------------------------------------------- the largest batch
def search(memory, **arguments):
    tried = []

    def seen(batch):
        tried.append(batch)
        return memory(batch)

    return largest_batch(seen, **{"first": 128, "multiple": 8, "most": 50_000, "capacity": 16_000, **arguments}), tried


def test_the_largest_batch_is_found_where_memory_is_linear():
    found, tried = search(lambda batch: 1000 + 10 * batch)  # 1500 fill it
    assert tried == [128, 256, 1496, 1504]
    assert (found.fits, found.too_large) == (1496, 1504)
    assert found.bytes_of == {128: 2280, 256: 3560, 1496: 15_960, 1504: 16_040}


def test_a_first_batch_that_the_compiler_refuses_leads_down():
    found, tried = search(lambda batch: None if batch > 100 else 100 * batch)
    assert tried[:2] == [128, 64]
    assert found.fits is not None and 64 <= found.fits <= 100 and found.too_large <= 128
    assert found.bytes_of[128] is None


def test_all_images_may_fit():
    found, tried = search(lambda batch: batch, most=500)
    assert (found.fits, found.too_large) == (496, None)
    assert all(batch <= 496 and batch % 8 == 0 for batch in tried)


def test_no_batch_may_fit_and_tries_are_few():
    found, tried = search(lambda batch: None)
    assert found.fits is None
    assert len(tried) <= 4 and found.too_large == min(tried)


# ---------------------------------------------------------------- what the compiled program says
PROGRAM = """HloModule step, is_scheduled=true

%looking_up (p0: u8[1000,64], p1: s32[4]) -> u8[4,64] {
  %p0 = u8[1000,64]{1,0:T(8,128)(4,1)} parameter(0)
  %p1 = s32[4]{0:T(128)} parameter(1)
  ROOT %gather.1 = u8[4,64]{1,0:T(8,128)(4,1)} gather(%p0, %p1), offset_dims={1}
}

ENTRY %main (images: u8[1000,64], places: s32[4], weights: f32[8,16]) -> (f32[8,16], u8[4,64]) {
  %images = u8[1000,64]{1,0:T(8,128)(4,1)} parameter(0)
  %places = s32[4]{0:T(128)} parameter(1)
  %weights = f32[8,16]{1,0:T(8,128)} parameter(2)
  %batch = u8[4,64]{1,0:T(8,128)(4,1)} fusion(%images, %places), calls=%looking_up, c={"estimated_cycles":"700"}
  %copy-start = (f32[8,16]{1,0:T(8,128)S(1)}, f32[8,16]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%weights)
  %copy-done = f32[8,16]{1,0:T(8,128)S(1)} copy-done(%copy-start)
  %new = f32[8,16]{1,0:T(8,128)} add(%copy-done, %copy-done), backend_config={"estimated_cycles":"42"}
  ROOT %tuple = (f32[8,16]{1,0:T(8,128)}, u8[4,64]{1,0:T(8,128)(4,1)}) tuple(%new, %batch)
}
"""


def test_bytes_are_those_that_cross_to_the_memory_of_the_core():
    looked_up = 256 + 16 + 256  # a row for each of four places, the places, and the batch that is written
    weights = 512  # read once, into on-chip memory, where they are read twice more
    assert hbm_bytes(PROGRAM) == looked_up + weights + 512
    assert in_hbm("(bf16[3,5]{1,0}, s4[7]{0:S(1)}, pred[])") == 31


def test_cycles_are_those_that_the_compiler_wrote():
    assert estimated_cycles(PROGRAM) == 742


# ---------------------------------------------------------------- stand-ins
def test_a_stand_in_keeps_some_blocks_of_each_row_of_alike_ones():
    def built():
        return build_model(Model(name="resnet32_cifar"), class_count=10, image_size=(32, 32), seed=0).module

    for kept, channels in ((0, [32, 64]), (1, [16, 32, 32, 64, 64])):  # of 5 + (1 + 4) + (1 + 4)
        module = built()
        assert keep_blocks(module, kept) == 15 - len(channels)
        assert [block.conv1.out_channels for block in module.layers] == channels
        assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert keep_blocks(built(), 5) == 0


def test_blocks_that_differ_in_their_stride_alone_are_not_alike():
    def block(stride):
        return nn.Sequential(nn.Conv2d(4, 4, 3, stride=stride, padding=1), nn.ReLU())

    stage = nn.Sequential(block(2), block(1), block(1), block(1), nn.ReLU(), nn.ReLU())
    assert keep_blocks(stage, 2) == 1
    assert [part[0].stride for part in list(stage)[:3]] == [(2, 2), (1, 1), (1, 1)]
    assert len(stage) == 5  # what has no parameters stays


def step(**values):
    names = ("flops", "hbm_bytes", "argument_bytes", "output_bytes", "alias_bytes", "temporary_bytes", "code_bytes")
    return CompiledStep(**{**dict.fromkeys((*names, "estimated_cycles"), 0.0), **values})


def test_a_whole_step_is_extrapolated_from_two_stand_ins():
    short, longer = (
        step(flops=10, temporary_bytes=100, argument_bytes=7),
        step(flops=16, temporary_bytes=140, argument_bytes=9),
    )
    counts = [{"flops": f, "bytes": b, "argument_bytes": a} for f, b, a in ((100, 5, 20), (160, 7, 30), (400, 15, 60))]
    whole = extrapolated(short, longer, *counts)
    assert (whole.flops, whole.temporary_bytes, whole.argument_bytes) == (40, 300, 15)
    assert extrapolated(short, short, counts[0], counts[0], counts[0]) == short  # nothing was left out


def test_the_memory_of_a_step_counts_outputs_that_take_the_place_of_inputs_once():
    found = step(argument_bytes=100, output_bytes=90, alias_bytes=80, temporary_bytes=1000, code_bytes=5)
    assert found.memory_bytes == 1115


# ---------------------------------------------------------------- the report
RESULTS = {
    "experiment": "exp2",
    "topology": "v5e:2x2",
    "cores": 4,
    "core": {"hbm_bytes": 16 * 2**30, "flops_per_second": 197e12, "hbm_bytes_per_second": 819e9},
    "model": "tf_efficientnet_b0",
    "members": 1,
    "controller": "constant",
    "stacked": False,
    "precision": "float32",
    "parameters": 4_135_648,
    "input_size": [32, 32],
    "train_images": 50_000,
    "stand_in": None,
    "steps": {
        "training": {
            "batch_size": 32,
            "steps": 15_620,
            "reason": None,
            "compile_seconds": 85.0,
            "flops": 455e6,
            "hbm_bytes": 154e6,
            "argument_bytes": 200e6,
            "temporary_bytes": 10e6,
            "code_bytes": 20e6,
            "beside_bytes": 31e6,
            "memory_bytes": 261e6,
            "roofline_seconds": 154e6 / 819e9,
            "compute_seconds": 455e6 / 197e12,
            "memory_seconds": 154e6 / 819e9,
            "images_per_second": 32 / (154e6 / 819e9),
            "estimated_seconds": 0.0012,
        },
        "evaluation": {"batch_size": 512, "steps": 220, "reason": "Ran out of memory", "compile_seconds": 3.0},
    },
    "largest_batch": {"fits": 4096, "too_large": 4100, "bytes_of": {32: 261_000_000, 4100: None}},
    "duration_seconds": None,
    "estimated_seconds": None,
}


def test_the_report_says_what_compiles_what_it_needs_and_that_a_bound_is_not_a_measurement():
    text = preflight_text(RESULTS)
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.startswith(" ")]
    cells = {name: values for name, *values in lines}
    assert cells["compiles"] == ["yes", "no"]
    assert cells["memory of a core, GiB"] == ["0.243"]
    assert cells["roofline time, ms, at least"] == ["0.188"]
    assert cells["images/s, at most"] == ["170,182"]
    assert "evaluation: Ran out of memory" in text
    assert (
        "largest batch in training: 4096, or more (less than 4100 in any case; compiled: 32: 0.24 GiB, 4100: refused)"
        in text
    )
    all_fit = {"fits": 50_000, "too_large": None, "bytes_of": {32: 261_000_000, 50_000: 8_170_000_000}}
    shown = preflight_text({**RESULTS, "largest_batch": all_fit})
    assert (
        "largest batch in training: 50000, all training images at once (compiled: 32: 0.24 GiB, 50000: 7.61 GiB)"
        in shown
    )
    assert "These are bounds, not measurements: no step was run." in text
    assert "extrapolated" not in text and "\n\n\n" not in text
    assert "members" not in text
    training = {**RESULTS["steps"]["training"], "memory_bytes": 17 * 2**30}
    shown = preflight_text({**RESULTS, "steps": {"training": training}})
    assert "training: does not fit: it needs 17.0 GiB of a core, which has 16" in shown
    assert "counted are the fewest" in preflight_text({**RESULTS, "controller": "cuda"})
    shown = preflight_text({**RESULTS, "members": 5})
    assert "5 members, one after another: steps of one\n" in shown
    shown = preflight_text({**RESULTS, "members": 5, "stacked": True})
    assert "5 members, stacked: one training step of all; the batch and images/s are those of each\n" in shown
    shown = preflight_text({**RESULTS, "stand_in": {"kept_blocks": [0, 1], "removed_blocks": 32}})
    assert "extrapolated: compiled were models with none and with one of each row of alike blocks" in shown


# ---------------------------------------------------------------- the compiler itself
@needs_the_compiler
def test_the_compiler_knows_every_topology_with_as_many_cores():
    code = """
import os
from cifar_imbalance.configuration.tpus import TOPOLOGIES, Topology
from cifar_imbalance.preflight import compiler
os.environ.update(compiler.NO_TPU)
print({name: len(compiler.described(Topology(name))) for name in TOPOLOGIES})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str({name: Topology(name).cores for name in TOPOLOGIES})


@pytest.mark.skipif(find_spec("torch_xla") is None, reason="needs torch_xla")
@pytest.mark.slow
def test_each_kind_of_step_is_traced_with_what_it_changes(tmp_path):
    """An experiment as exp1: a burn-in of the head alone, then all layers, batch norms with fixed statistics."""
    code = """
import sys
from pathlib import Path
from cifar_imbalance.configuration.fields import *
from cifar_imbalance.engine.prepared import prepare
from cifar_imbalance.preflight.trace import Request, traced
from cifar_imbalance.runtimes.xla import TracingRuntime
phases = FourPhases(burnin_epochs=1, warmup_epochs=1, flat_epochs=1, cooldown_epochs=1)
config = TrainConfig(
    dataset=Dataset(name="digits", cache_dir=sys.argv[1]),
    model=Model(name="test_efficientnet", freeze_batch_norm=True),
    schedule=Schedule(name="four_phases", four_phases=phases, min_lr=1e-4, max_lr=1e-2),
    training=Training(epochs=4, batch_size=16, eval_batch_size=16),
    optimizer=Optimizer(name="sgd"),
    runtime=Runtime(name="xla", devices=2),
    experiment="custom",
)
runtime = TracingRuntime(config.runtime)
prepared = prepare(config, runtime=runtime)
extension = runtime._torch_xla._XLAC
check = extension._check_tensor_need_materialization
counts = []
extension._check_tensor_need_materialization = lambda tensors: counts.append(sum(check(tensors))) or check(tensors)
sizes = []
for kind in ("burn-in", "training", "evaluation"):
    program, known = traced(config, prepared, Request(kind, 16, None))
    sizes.append(len(program))
config.ensemble = Ensemble(members=3, together="stacked")
program, known = traced(config, prepared, Request("training", 16, None))
counts.append(len(program) > sizes[1])
weights = [*prepared.built.module.state_dict().values()]
held = sum(one.nbytes for one in weights) + sum(one.nbytes for one in prepared.built.module.parameters())
counts.append(known["beside_bytes"] / 3 - held)
print(counts, len({*sizes}), sum(1 for _ in prepared.built.module.parameters()))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Loss, accuracy and records; of the head, or of all layers, weights and momentum; logits. Of a stack as many, and
    # beside it its members' own weights and momentum.
    assert done.stdout.splitlines()[-1] == "[7, 101, 1, 101, True, 0.0] 3 49"


@needs_the_compiler
@pytest.mark.slow
def test_the_quickstart_compiles_for_a_tpu_that_is_not_here(typed, tmp_path):
    words = ["experiment=quickstart", "topology=v5e:2x2", "largest_batch=false", f"dataset.cache_dir={tmp_path / 'c'}"]
    answer = typed(tmp_path, "preflight", *words, "output=first")
    assert (answer.code, answer.err) == (0, "")
    found = json.loads((tmp_path / "first" / "preflight.json").read_text())
    training, evaluation = found["steps"]["training"], found["steps"]["evaluation"]
    assert training["reason"] is None and evaluation["reason"] is None
    assert training["steps"] == 40 * 29
    assert training["alias_bytes"] > 0.99 * training["output_bytes"] - 2048  # weights and state are updated in place
    images = 464 * 32 * 32 * 3
    state = 3 * 4 * found["parameters"]  # float32 weights, and two moments of AdamW
    assert images + state < training["argument_bytes"] < 2 * (images + state)
    assert 5e6 < training["flops"] < 5e8
    assert training["hbm_bytes"] < 4 * training["argument_bytes"] + 2 * training["temporary_bytes"]
    assert training["memory_bytes"] < 2**26
    again = typed(tmp_path, "preflight", *words, "output=second")
    assert again.code == 0
    assert re.findall(r"compiling.*known from an earlier pre-flight", again.out)
    assert json.loads((tmp_path / "second" / "preflight.json").read_text())["steps"] == found["steps"]
