"""What a run folder keeps of each epoch."""

import numpy as np

from cifar_imbalance.runs.folder import RunFolder, find_run

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
