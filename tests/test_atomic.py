"""Files are written atomically."""

import json
import os

import pytest

from cifar_imbalance import atomic


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "a.txt"
    atomic.write_text(file, "old")

    def fail(stream):
        stream.write(b"half")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        atomic.write(file, fail)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_readable_and_keeps_other_scripts(tmp_path):
    atomic.write_json(tmp_path / "a.json", {"class": "猫"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"class": "猫"}
    assert "猫" in (tmp_path / "a.json").read_text()


def test_the_error_of_a_full_disk_names_the_file(tmp_path):
    def fail(stream):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space") as caught:
        atomic.write(tmp_path / "a.txt", fail)
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_the_error_of_a_folder_that_was_deleted_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        atomic.write_text(tmp_path / "gone" / "a.txt", "text")
    assert caught.value.filename == str(tmp_path / "gone" / "a.txt")


def no_hard_links(source, target):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_created_once(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_hard_links)
    path = tmp_path / "config.yaml"
    atomic.create_text(path, "first")
    with pytest.raises(FileExistsError):
        atomic.create_text(path, "second")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("config.yaml", "first")]
