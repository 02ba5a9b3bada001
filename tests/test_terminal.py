"""Lines reach any terminal, whatever its encoding and its width."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_imbalance.terminal import Terminal, one_line, printable

ROOT = Path(__file__).resolve().parents[1]
ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("columns", ["0", "-1", "10", "nonsense"])
def test_lines_are_printed_in_a_terminal_of_any_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    with Terminal() as terminal:
        terminal.print_line("a line that is longer than ten columns")
    assert capsys.readouterr().out == "a line that is longer than ten columns\n"


def test_control_characters_are_shown_not_obeyed(capsys, tmp_path):
    with Terminal() as terminal:
        terminal.write_log(tmp_path / "train.log")
        terminal.print_line("\x1b[2Jcat\x07\x9b")
    shown = "\\x1b[2Jcat\\x07\\x9b\n"
    assert capsys.readouterr().out == shown
    assert (tmp_path / "train.log").read_text() == shown
    assert printable("a\tb\n") == "a\tb\n" and one_line("a\tb\n") == "a\\tb\\n"


def run(tmp_path, program, *words, **environment):
    return subprocess.run(
        [sys.executable, ROOT / f"{program}.py", *words],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding_shows_what_it_cannot_print_as_codes(tmp_path, encoding):
    words = ["dataset=image_folder", "dataset.root=日本", "--cfg", "job"]
    answer = run(tmp_path, "train", *words, PYTHONIOENCODING=encoding)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert b"\\u65e5\\u672c" in answer.stdout


def test_names_of_files_are_utf8_in_any_locale(tmp_path):
    (tmp_path / "日本").mkdir()
    answer = run(tmp_path, "evaluate", "ckpt=日本", **ASCII_LOCALE)
    assert answer.returncode == 2
    line = "evaluate.py: ckpt=日本: this is not a run folder (there is no config.yaml in it)\n"
    assert answer.stderr.decode() == line
