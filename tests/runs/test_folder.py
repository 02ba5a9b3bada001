"""What a run folder keeps of each epoch."""

import json
import os
import shutil

import numpy as np
import pytest

from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.folder import RunFolder, find_run
from cifar_imbalance.runs.stored import SEAL, check_no_links, sealed, sha256

NAMES = ("cat", 'fox, "red"', "two\nlines")


def test_recalls_come_back_as_they_were_written_with_nan_for_a_class_without_images(tmp_path):
    recalls = [np.array([0.25, np.nan, 1.0]), np.array([0.5, np.nan, 0.0])]
    folder = RunFolder(tmp_path)
    folder.write_recalls(recalls, NAMES, "validation")
    for found, written in zip(folder.read_recalls(), recalls, strict=True):
        np.testing.assert_array_equal(found, written)
    assert folder.recalls.read_text().splitlines()[-1] == "2,validation,0.5,,0"


def test_recalls_of_epochs_that_are_repeated_are_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_recalls([np.array([0.1 * epoch]) for epoch in range(4)], ("cat",), "test")
    assert len(folder.read_recalls(up_to_epoch=3)) == 3


def test_a_run_without_evaluations_has_no_recalls(tmp_path):
    RunFolder(tmp_path).write_recalls([], NAMES, "validation")
    assert RunFolder(tmp_path).read_recalls() == []
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_belongs_to_its_run_from_wherever_it_is_named(tmp_path, monkeypatch):
    run = tmp_path / "run"
    for name in ("checkpoints/last.pt", "weights/w.pth"):
        (run / name).parent.mkdir(parents=True)
        (run / name).touch()
    (run / "config.yaml").touch()
    monkeypatch.chdir(run / "checkpoints")
    assert find_run("last.pt").path == find_run("../checkpoints/last.pt").path.resolve() == run
    assert find_run(run / "weights" / "w.pth") is None  # a file of weights beside some config.yaml


EPOCH = {"epoch": 1, "phase": "t", "train_loss": 1.0, "lr_start": 0, "lr_end": 0, "images_per_second": 9, "seconds": 1}


@pytest.mark.parametrize("value", ["x", [1], {}, 10**400, float("inf")])
def test_an_epoch_whose_values_are_not_numbers_is_damaged(value, tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_history([{**EPOCH, "validation_loss": None, "validation_accuracy": 0.5}])
    assert folder.read_history()[0]["validation_loss"] is None
    folder.write_history([{**EPOCH, "validation_accuracy": value}])
    with pytest.raises(UsageError, match=r"line 1 is not that of epoch 1|damaged"):
        folder.read_history()


def test_saved_logits_are_those_that_the_summary_names(tiny_run, tmp_path):
    folder = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    assert list(folder.read_summary()["predictions_sha256"]) == ["test", "validation"]
    splits = ("test", "validation", "train")
    assert [folder.checked_predictions(split) for split in splits] == [folder.predictions(split) for split in splits]
    assert not folder.checked_predictions("train").exists()
    shutil.copy(folder.predictions("test"), folder.predictions("validation"))
    with pytest.raises(UsageError, match=r"summary\.json has the checksum of another file"):
        folder.checked_predictions("validation")
    folder.predictions("validation").unlink()
    with pytest.raises(UsageError, match="there is no such file, though the run has saved it"):
        folder.checked_predictions("validation")


def test_a_history_is_the_one_that_was_reported(tiny_run, tmp_path):
    folder = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    history = folder.checked_history()
    folder.write_history([{**line, "seconds": 9.0, "images_per_second": 1.0} for line in history])
    assert len(folder.checked_history()) == 2  # another run of the same configuration has other times
    folder.write_history([{**line, "train_loss": 0.5} for line in history])
    with pytest.raises(UsageError, match=r"metrics\.jsonl: .*summary\.json has the checksum of another file"):
        folder.checked_history()
    folder.metrics.unlink()
    with pytest.raises(UsageError, match=r"metrics\.jsonl: .*summary\.json has the checksum of another file"):
        folder.checked_history()


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
def test_recalls_with_an_empty_line_are_damaged(tiny_run, tmp_path, end):
    folder = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    folder.recalls.write_text(folder.recalls.read_text() + end)
    with pytest.raises(UsageError, match="row 3 is not that of epoch 3"):
        folder.read_recalls()


def test_an_empty_summary_which_a_crash_can_leave_is_none(tiny_run, tmp_path):
    folder = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    folder.summary.write_bytes(b"")
    assert not folder.is_finished


def test_text_for_a_number_in_a_summary_is_damaged(tiny_run, tmp_path):
    folder = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    folder.summary.write_text(json.dumps(sealed({"accuracy": "x", "macro_f1": 0.5})))
    with pytest.raises(UsageError, match="accuracy is missing, or not as it should be"):
        folder.read_summary()


@pytest.mark.parametrize("line", ['start: "\\ud800"', f"zzz: [{200_000 * '1,'}1]"])
def test_a_configuration_that_cannot_be_one_is_refused_at_once(tiny_run, tmp_path, line):
    folder = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    text = f"{line}\n"
    folder.config.write_text(f"{text}{SEAL}{sha256(text)}\n")
    with pytest.raises(UsageError, match=r"config\.yaml: "):
        folder.read_config()


def test_a_log_that_is_a_hard_link_is_separated_from_it(tiny_run, tmp_path):
    folder = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    os.link(folder.log, tmp_path / "elsewhere")
    folder.tidy()
    assert folder.log.stat().st_nlink == 1
    assert folder.log.read_text() == (tmp_path / "elsewhere").read_text()


def test_a_pipe_in_a_run_is_refused(tmp_path):
    check_no_links(tmp_path, "resume=run")
    os.mkfifo(tmp_path / "train.log")
    with pytest.raises(UsageError, match=r"^resume=run: .*train.log is neither a file nor a folder$"):
        check_no_links(tmp_path, "resume=run")
