"""What the documents say is what the programs do, and the numbers of docs/answer.md are those of its files."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```\w*\n(.*?)```", re.S)
REMARK = re.compile(r"\s{2,}.*")  # behind a command, in its line


def commands(document):
    """The commands of train.py in a document's blocks."""
    for block in BLOCK.findall((ROOT / document).read_text()):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if line.startswith("python train.py"):
                yield document, REMARK.sub("", line)


COMMANDS = [
    pytest.param(command, id=f"{document}: {command[16:60]}")
    for document in ("README.md", "docs/usage.md", "docs/answer.md")
    for document, command in commands(document)
    if "--help" not in command and "teacher=" not in command
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_accepted(typed, started, tiny_run, tmp_path, command):
    (tmp_path / "weights.pt").touch()
    for folder in ("FOLDER", "photos/cats", "photos/dogs"):
        (tmp_path / folder).mkdir(parents=True)
    for name, value in {"=RUN": f"={tiny_run}", "=FILE": "=weights.pt", "/NAME": "/cdb"}.items():
        command = command.replace(name, value)
    words = shlex.split(command)[2:]
    answer = typed(tmp_path, "train", *words)
    assert answer.code == 0, answer.err


def test_the_example_of_the_readme_lifts_the_worst_class(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    before, after = (float(re.search(r"0\.\d+", line)[0]) for line in capsys.readouterr().out.splitlines())
    assert (before, after) == (pytest.approx(0.732, abs=0.02), pytest.approx(0.838, abs=0.02))  # what the README says
    assert len(list(tmp_path.glob("reports/*/report.html"))) == 2


def test_numbers_and_tables_of_the_answer_are_those_of_its_files():
    spec = importlib.util.spec_from_file_location("answer_figures", ROOT / "docs" / "answer_figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "docs" / "answer.md").read_text()
    assert module.written(text) == text
