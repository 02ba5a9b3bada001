"""What the documents say is what the programs do, and the numbers of docs/answer.md are those of its files."""

import csv
import importlib.util
import re
import shlex
import shutil
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```\w*\n(.*?)```", re.S)
PAIR = re.compile(r"0\.\d{3} / 0\.\d{3}")  # accuracy / worst decile
REMARK = re.compile(r"\s{2,}.*")  # behind a command, in its line


PROGRAM = re.compile(r"python (?:(train|evaluate)\.py|-m cifar_imbalance\.(\w+)) ")
DOCUMENTS = ("README.md", "docs/usage.md", "docs/sweeps.md", "docs/longtail.md", "docs/answer.md", "docs/tpu.md")
RUNS = {  # what a program calls once the command line is checked
    "engine.experiment": ["run_experiment"],
    "engine.ensemble": ["run_ensemble"],
    "engine.evaluation": ["run_evaluation", "run_combination"],
    "engine.grouping": ["run_grouping", "report_sweep"],
    "engine.seeds": ["run_against_seeds"],
    "predict.run": ["run_prediction"],
    "export.run": ["run_export"],
    "search.run": ["run_search"],
    "track.run": ["run_replay"],
    "figures.draw": ["run_figures"],
    "benchmark.run": ["run_benchmark"],
    "preflight.run": ["run_preflight"],
}


def commands():
    """The document, the program and the command of each line of a document's blocks that calls a program."""
    for document in DOCUMENTS:
        for block in BLOCK.findall((ROOT / document).read_text()):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                called = PROGRAM.match(line)
                if called and "--help" not in line and not any(word in line for word in ELSEWHERE):
                    yield document, called[1] or called[2], REMARK.sub("", line[called.end() :])


# A teacher, runs of a document, a cluster: tests of their own.
ELSEWHERE = ("teacher=", "outputs/balanced/exp2_tuned_0", "hydra/launcher=", "start=")
COMMANDS = [pytest.param(*command, id=" ".join(command)[:70]) for command in commands()]


@pytest.fixture(scope="module")
def sweep(typed, tiny_words, tmp_path_factory):
    """Two seeds."""
    folder = tmp_path_factory.mktemp("sweep")
    answer = typed(folder, "train", "-m", *tiny_words, "seed=0,1", "hydra.sweep.dir=.", "hydra.sweep.subdir=${seed}")
    assert answer.code == 0, answer.err
    return folder


@pytest.mark.parametrize(("document", "program", "command"), COMMANDS)
def test_commands_are_accepted(typed, sweep, tmp_path, monkeypatch, document, program, command):
    if program == "preflight" and importlib.util.find_spec("libtpu") is None:
        pytest.skip("needs the extra [preflight]")
    for module, names in RUNS.items():
        for name in names:
            monkeypatch.setattr(
                f"cifar_imbalance.{module}.{name}",
                lambda *given: next((one for one in given if isinstance(one, Path)), None),
            )
    shutil.copytree(sweep, tmp_path / "OTHER_SWEEP")
    (tmp_path / "outputs").mkdir()
    for name, place in {"RUN": "0", "OTHER_RUN": "1", "SWEEP": "", "outputs/ltbench": ""}.items():
        (tmp_path / name).symlink_to(sweep / place)
    for name in ("weights.pt", "FILE.safetensors"):
        (tmp_path / name).touch()
    for name in ("FOLDER/1", "FOLDER/2", "photos/cats", "photos/dogs", "other_photos/1"):
        (tmp_path / name).mkdir(parents=True)
    command = re.sub(r"=FILE(?!\.)", "=weights.pt", command).replace("/NAME", "/cdb")
    answer = typed(tmp_path, program, *shlex.split(command))
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


def test_the_results_in_the_readmes_table_of_methods_are_those_of_the_answers_files():
    with (ROOT / "docs" / "results" / "balanced" / "runs.csv").open() as file:
        lines = list(csv.DictReader(file))
    found = set()
    for row, power in {(line["row"], line["class_bias_power"]) for line in lines}:
        of_row = [line for line in lines if (line["row"], line["class_bias_power"]) == (row, power)]
        metrics = ("accuracy", "worst_decile_recall")
        found.add(" / ".join(f"{mean(float(line[name]) for line in of_row):.3f}" for name in metrics))
    section = (ROOT / "README.md").read_text().partition("## Methods")[2].partition("##")[0]
    last_cells = [line.rstrip(" |").rpartition(" | ")[2] for line in section.splitlines() if line.startswith("|")]
    stated = [pair for cell in last_cells for pair in PAIR.findall(cell)]
    assert len(stated) >= 8
    assert set(stated) <= found
