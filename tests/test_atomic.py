"""Files are written atomically."""

import json

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
