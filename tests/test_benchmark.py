"""The benchmark command: its rows, its file, its errors. Measured results are in docs/results."""

import importlib.util
import json
import subprocess
import sys

import pytest
import timm
import torch
from torch import nn

from cifar_imbalance.benchmark.measure import Measured, training_gflops_per_image
from cifar_imbalance.configuration.fields import BENCHMARK_ROWS, XLA_ROWS, BenchmarkConfig, Model, TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.schema import field_paths, rules

WORDS = ["model.name=test_efficientnet", "rounds=2", "steps=2", "batch_size=8", "output=out", "runtime=cpu"]

MISTAKES = [
    ("rows=[lop]", "rows=lop (did you mean loop?): allowed are " + ", ".join(BENCHMARK_ROWS)),
    ("rows=[]", "rows=[]: choose from " + ", ".join(BENCHMARK_ROWS)),
    ("runtime=xla", "runtime=xla: allowed are auto, cpu, cuda; XLA has rows of its own, xla_step, xla_loop"),
    (
        "keras_python=absent",
        "keras_python=absent: there is no such program; python3 -m venv keras && keras/bin/pip install "
        "tensorflow-cpu makes one, then keras_python=keras/bin/python",
    ),
    ("model.freeze_ratio=0.5", "model.freeze_ratio=0.5: not supported by all rows of the benchmark; leave it out"),
    ("model.pretrained=true", "model.pretrained=True: not supported by all rows of the benchmark; leave it out"),
    ("round=3", "round: there is no such field (did you mean rounds?)"),
    ("steps=0", "steps=0: allowed is at least 1"),
    ("rounds=0", "rounds=0: allowed is at least 1"),
    ("batch_size=1", "batch_size=1: allowed is at least 2"),
    ("image_size=3", "image_size=3: allowed is at least 4 and at most 4096"),
    ("class_count=1", "class_count=1: allowed is at least 2"),
]


def test_every_pytorch_row_is_timed_and_compared(typed, tmp_path):
    rows = [name for name in BENCHMARK_ROWS if name not in ("keras", *XLA_ROWS, "step_compiled")]
    answer = typed(tmp_path, "benchmark", *WORDS, f"rows=[{','.join(rows)}]", "profile=true")
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert list(results["images_per_second"]) == rows
    for spread in (*results["images_per_second"].values(), results["gflops_per_second"], *results["ratios"].values()):
        assert 0 < spread["min"] <= spread["median"] <= spread["max"]
    assert list(results["ratios"]) == [
        "loop / step",
        "step / channels_last_fused",
        "step / plain",
        "loop / dataloader_loop",
    ]
    assert results["environment"]["threads"] == torch.get_num_threads()
    assert "aten::convolution_backward" in results["operator_milliseconds"]["channels_last_fused"]
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 1000
    assert "loop / step" in answer.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_ratios_are_of_the_same_round():
    speeds = {"step": [100.0, 50.0], "plain": [50.0, 25.0]}
    measured = Measured(
        speeds, [10.0, 5.0], gflops_per_image=0.05, loop_is_compiled=False, first_round_seconds={}, workers={}
    )
    assert measured.ratios() == {"step / plain": [2.0, 2.0]}
    assert measured.shares_of_matrix_product()["step"] == [0.5, 0.5]


def test_the_flops_of_a_step_are_three_times_those_of_convolutions_and_head():
    module = timm.create_model("tf_efficientnet_b0", num_classes=10)
    counts = [2 * 1280 * 10]

    def count(part, _, output):
        counts.append(2 * output.numel() * part.weight[0].numel())

    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(count)
    module.eval()(torch.zeros(1, 3, 32, 32))
    config = BenchmarkConfig(model=Model(name="tf_efficientnet_b0.aa_in1k"))
    assert training_gflops_per_image(config) == pytest.approx(3 * sum(counts) / 1e9)


def test_unavailable_rows_are_reported(typed, tmp_path):
    answer = typed(tmp_path, "benchmark", *WORDS, "rows=[step,keras]")
    assert answer.code == 0, answer.err
    assert "left out: keras: needs a Python with TensorFlow; python3 -m venv keras" in answer.out
    answer = typed(tmp_path, "benchmark", *WORDS, "rows=[keras]", "output=other")
    assert answer.code == 2
    assert answer.err.startswith("cifar_imbalance.benchmark: rows=['keras']: none can be timed here; keras: needs a")
    answer = typed(tmp_path, "benchmark", *WORDS, "rows=[keras]", "output=other", f"keras_python={sys.executable}")
    assert answer.code == 2
    assert "Keras has no test_efficientnet, only tf_efficientnet_b0, tf_efficientnet_b5" in answer.err
    assert not (tmp_path / "other").exists()


def test_a_python_without_tensorflow_gives_a_one_line_error(typed, tmp_path):
    words = [word for word in WORDS if not word.startswith("model.name")]
    answer = typed(tmp_path, "benchmark", *words, "rows=[keras]", f"keras_python={sys.executable}")
    assert answer.code == 1
    assert answer.err.startswith("cifar_imbalance.benchmark: the process of keras ended early: ")
    assert answer.err.endswith("ModuleNotFoundError: No module named 'tensorflow'\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "line"), MISTAKES)
def test_a_mistake_gives_a_one_line_error_and_leaves_no_files(typed, tmp_path, words, line):
    answer = typed(tmp_path, "benchmark", *words.split())
    assert answer.code == 2
    assert answer.err.startswith(f"cifar_imbalance.benchmark: {line}")
    assert list(tmp_path.iterdir()) == []


def test_every_rule_specific_to_the_benchmark_is_tested_above():
    own = rules(BenchmarkConfig).keys() - field_paths(TrainConfig)
    assert own and own <= {words.partition("=")[0] for words, _ in MISTAKES}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lite0", "b0"])
def test_the_loop_reaches_95_percent_of_the_bare_step(tmp_path, model):
    """In a separate process: the tests' type checks make every step slower."""
    words = [f"model={model}", "rows=[loop,step]", "rounds=40", "output=out", "runtime=cpu"]
    subprocess.run([sys.executable, "-m", "cifar_imbalance.benchmark", *words], cwd=tmp_path, check=True)
    results = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert results["ratios"]["loop / step"]["median"] >= 0.95


def test_help_names_the_rows_and_the_groups(typed, tmp_path):
    answer = typed(tmp_path, "benchmark", "--help")
    models = ", ".join(sorted(path.stem for path in (CONF / "model").glob("*.yaml")))
    for words in ("channels_last_fused", "keras_python", f"model         {models}", "image_size: 32"):
        assert words in answer.out


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None, reason="needs torch_xla")
def test_the_loop_on_xlas_device_is_compared_with_its_step(typed, tmp_path):
    answer = typed(tmp_path, "benchmark", *WORDS, f"rows=[{','.join(XLA_ROWS)}]")
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert list(results["ratios"]) == ["xla_loop / xla_step"]
    assert {worker["runtime"] for worker in results["workers"].values()} == {"xla"}
