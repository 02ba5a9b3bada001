"""XLA computes what native PyTorch computes, on any number of devices.

Every measurement runs in a separate process (see probe.py). XLA's own CPU device substitutes for TPU cores.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from runtimes.compare import relative

from cifar_imbalance.evidence.predictions import Predictions

PROBE = Path(__file__).with_name("probe.py")
SMALL = [
    "experiment=quickstart",
    "dataset.image_size=16",
    "training.eval_batch_size=96",
]
# a small rate: less chaos, see compare.py
PLAIN = ["optimizer=sgd", "schedule=constant", "schedule.warmup_fraction=0", "schedule.max_lr=0.001"]
EXACT = "augmentation=[flip,shift,cutout]"  # moves and fills pixels: no arithmetic that could round differently

# Most of the time of these tests would go to LLVM's optimiser, which they do not test (compare.py runs with it).
ENVIRONMENT = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch_xla") is None, reason="torch_xla is not installed: pip install -e '.[xla]'"
)


def ask(folder, question, *overrides, environment=ENVIRONMENT):
    answer = folder / f"{question}_{len(list(folder.iterdir()))}.pt"
    command = [sys.executable, str(PROBE), question, str(answer), *overrides]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return answer


def run_program(folder, program, *words):
    command = [sys.executable, str(PROBE.parents[2] / program), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-2000:]


def answer_of(*arguments):
    return torch.load(ask(*arguments), weights_only=True)


def test_every_batch_of_an_epoch_is_the_same_on_every_runtime(tmp_path):
    native = answer_of(tmp_path, "batches", "runtime=cpu", EXACT, *SMALL)
    assert native == answer_of(tmp_path, "batches", "runtime=xla", "runtime.devices=2", EXACT, *SMALL)
    assert len(set(native)) == len(native) == 29


WITH_DROPOUT = [EXACT, *SMALL, *PLAIN, "model.drop_rate=0.3"]  # by key, not by the device's generator


@pytest.fixture(scope="module")
def native_states(tmp_path_factory):
    """The file with native's states, losses and gradients."""
    return ask(tmp_path_factory.mktemp("native"), "states", "runtime=cpu", *WITH_DROPOUT)


@pytest.mark.parametrize(
    "devices", [1, 2, pytest.param(4, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)]
)
def test_from_each_native_state_loss_and_gradients_agree(native_states, tmp_path, devices):
    """A batch is split over the devices; that of native's batch norms is whole."""
    native = torch.load(native_states, weights_only=True)
    of_devices = ["runtime=xla", f"runtime.devices={devices}", *WITH_DROPOUT]
    xla = answer_of(tmp_path, "forced", *of_devices, f"+states={native_states}")
    assert xla["losses"] == pytest.approx(native["losses"], rel=1e-4)
    assert max(map(relative, native["gradients"], xla["gradients"])) < 1e-4


def test_no_device_computes_what_is_another_ones(tmp_path):
    """Devices exchange sums, for batch norms, gradients and losses, and never the images of a batch or maps of them."""
    dump = tmp_path / "dump"
    flags = f"{ENVIRONMENT['XLA_FLAGS']} --xla_dump_to={dump} --xla_dump_hlo_pass_re=spmd-partitioning"
    words = ["runtime=xla", "runtime.devices=2", "augmentation=paper", *SMALL, *PLAIN]
    ask(tmp_path, "losses", *words, environment={**ENVIRONMENT, "XLA_FLAGS": flags})
    (step,) = (file.read_text() for file in dump.glob("*after_spmd-partitioning*"))
    assert " all-reduce(" in step
    assert not {name for name in ("all-gather", "all-to-all", "collective-permute") if f" {name}(" in step}


@pytest.mark.parametrize("devices", ["1", "2"])
def test_an_optimizer_traced_once_steps_as_torchs_own_bit_for_bit_in_one_graph(devices):
    command = [sys.executable, str(PROBE.with_name("traced_optimizers.py")), devices]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-2000:]
    four_steps_one_graph = [True, 4, 1]
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(("adam", "adamw", "sgd"), four_steps_one_graph)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [["runtime=cpu"], ["runtime=xla", "runtime.devices=2"]], ids=["native", "xla"])
def test_networks_that_are_one_step_have_the_losses_that_they_have_alone(runtime, tmp_path):
    words = ["model.drop_rate=0.2"]
    found = answer_of(tmp_path, "stacked", *runtime, EXACT, *SMALL, *PLAIN, *words)
    assert found["together"][0] != pytest.approx(found["together"][1], rel=1e-2)
    for together, alone in zip(found["together"], found["alone"], strict=True):
        assert together == pytest.approx(alone, rel=1e-3)
    first, *epochs = found["compiled"]
    assert epochs == ([0, 0] if runtime[0] == "runtime=cpu" else [first + 1] * 2)


@pytest.mark.slow
def test_train_and_evaluate_give_the_same_results_on_two_devices_and_on_native(tmp_path):
    short = ["training.epochs=1", "training.batch_size=64", "schedule.warmup_fraction=0", "hydra.run.dir=run"]
    run_program(tmp_path, "train.py", "runtime=xla", "runtime.devices=2", *short, *SMALL, "training.ema_decay=0.9")
    run_program(tmp_path, "evaluate.py", "ckpt=run", "hydra.run.dir=again")
    run_program(tmp_path, "evaluate.py", "ckpt=run", "hydra.run.dir=native", "runtime=cpu")
    logits = {
        name: Predictions.load(tmp_path / name / "predictions" / "test.npz").logits
        for name in ("run", "again", "native")
    }
    assert np.array_equal(logits["again"], logits["run"])
    np.testing.assert_allclose(logits["native"], logits["run"], rtol=1e-4, atol=1e-4)


AS_SECOND_PROCESS = """
import sys
import torch_xla.runtime
torch_xla.runtime.process_count, torch_xla.runtime.process_index = (lambda: 2), (lambda: 1)
from cifar_imbalance import command_line
sys.argv = ["train.py", *sys.argv[1:]]
command_line.train()
"""


@pytest.mark.slow
def test_the_second_process_of_a_pod_trains_and_leaves_and_says_nothing(tmp_path):
    """As torch_xla numbers processes; that its devices are those of two hosts cannot be tested on one."""
    short = ["training.epochs=1", "training.batch_size=64", "schedule.warmup_fraction=0"]
    command = [sys.executable, "-c", AS_SECOND_PROCESS, "runtime=xla", *short, *SMALL]
    environment = {**ENVIRONMENT, "PJRT_DEVICE": "CPU", "PYTHONPATH": str(PROBE.parents[2])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_tpu_that_cannot_be_opened_is_one_line(tmp_path):
    """As when another process has it; here its driver is a file that does not exist."""
    environment = {**os.environ, "PJRT_DEVICE": "TPU", "TPU_LIBRARY_PATH": str(tmp_path / "libtpu.so")}
    command = [sys.executable, str(PROBE.parents[2] / "train.py"), "runtime=tpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("train.py: runtime=tpu: XLA cannot open the device: Failed to open ")
    assert list(tmp_path.iterdir()) == []
