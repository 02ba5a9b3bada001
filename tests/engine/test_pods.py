"""On a pod every host's process computes the whole run, and the first alone writes and prints.

One machine has one process: what is tested is what each does by its number. Not tested is what torch_xla and TPUs do
between hosts.
"""

import tempfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cifar_imbalance.configuration.hardware import xla_is_installed
from cifar_imbalance.engine import experiment, results
from cifar_imbalance.engine.experiment import run_experiment
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runtimes.base import DeviceRuntime


@pytest.fixture
def as_process(monkeypatch, tmp_path):
    """Makes this process a number of two; temporary files are in tmp_path/temporary."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def be(number):
        monkeypatch.setattr(DeviceRuntime, "processes", 2)
        monkeypatch.setattr(DeviceRuntime, "process", number)

    return be


@pytest.fixture
def computed(monkeypatch):
    """The predictions that were computed after training."""
    found, predict = [], results.predict

    def watched(*arguments, **settings):
        found.append(predict(*arguments, **settings))
        return found[-1]

    monkeypatch.setattr(results, "predict", watched)
    return found


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_second_process_computes_the_same_and_leaves_and_says_nothing(tiny, tmp_path, as_process, computed, capsys):
    config = tiny(logger=["tensorboard"])
    as_process(0)
    assert run_experiment(config, tmp_path / "run", []) == tmp_path / "run"
    assert "run folder" in capsys.readouterr().out
    before = files_in(tmp_path)
    as_process(1)
    assert run_experiment(config, tmp_path / "run", []) is None
    assert capsys.readouterr() == ("", "")
    assert files_in(tmp_path) == before
    first, second = computed[0], computed[2]  # test images, then validation images, of each
    assert np.array_equal(first.logits, second.logits)
    assert np.array_equal(first.logits, Predictions.load(tmp_path / "run" / "predictions" / "test.npz").logits)


def test_all_processes_resume_and_the_first_alone_writes(tiny, tmp_path, as_process, computed, monkeypatch, capsys):
    config = tiny(training={"epochs": 2})
    run_experiment(config, tmp_path / "whole", [])
    update = experiment.Loop._update_best

    def interrupted(loop, line):
        if line["epoch"] == 2:
            raise KeyboardInterrupt
        return update(loop, line)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="resume with"):
        patch.setattr(experiment.Loop, "_update_best", interrupted)
        run_experiment(config, tmp_path / "run", [])
    before = {path: path.read_bytes() for path in files_in(tmp_path)}
    again = replace(config, resume=str(tmp_path / "run"))
    capsys.readouterr()
    as_process(1)
    assert run_experiment(again, tmp_path / "other", []) is None
    assert {path: path.read_bytes() for path in files_in(tmp_path)} == before
    assert capsys.readouterr() == ("", "")
    as_process(0)
    assert run_experiment(again, tmp_path / "other", []) == tmp_path / "run"
    whole, second, first = computed[0], computed[2], computed[4]
    assert np.array_equal(whole.logits, second.logits)
    assert np.array_equal(whole.logits, first.logits)
    assert RunFolder(tmp_path / "run").is_finished


def test_an_interrupted_second_process_names_no_folder_to_resume(tiny, tmp_path, as_process, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    as_process(1)
    monkeypatch.setattr(experiment, "report_run", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run_experiment(tiny(), tmp_path / "run", [])
    assert files_in(tmp_path) == []


@pytest.mark.skipif(not xla_is_installed(), reason="torch_xla is not installed: pip install -e '.[xla]'")
@pytest.mark.parametrize(
    ("program", "words", "code"),
    [
        ("train", ["ensemble.members=2"], 2),
        ("train", ["-m", "seed=0,1"], 1),
        ("evaluate", ["ckpt={run}"], 2),
        ("predict", ["ckpt={run}", "images={images}"], 2),
    ],
)
def test_what_is_not_one_run_is_refused_on_a_pod(
    typed, tmp_path, tiny_words, tiny_run, monkeypatch, program, words, code
):
    from cifar_imbalance.runtimes import xla

    monkeypatch.setattr(xla, "XlaRuntime", lambda name, config: SimpleNamespace(processes=4, process=1, devices=8))
    Image.new("RGB", (16, 16)).save(tmp_path / "one.png")
    own = [word for word in tiny_words if not word.startswith("runtime")] if program == "train" else []
    words = [word.format(run=tiny_run, images=tmp_path) for word in words]
    answer = typed(tmp_path, program, *words, *own, "runtime=xla")
    assert answer.code == code
    line = "runtime=xla: on a pod, 4 hosts here, only train.py runs, and trains one model: no ensemble, sweep or search"
    assert line in answer.out + answer.err
    assert "Traceback" not in answer.err
    if code == 2:
        assert answer.err.count("\n") == 1
        assert files_in(tmp_path) == [tmp_path / "one.png"]
