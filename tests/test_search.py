# ruff: noqa: E501 (an input and its error are on one line)
"""Searches: python -m cifar_imbalance.search FIELD=interval(LOW,HIGH) trials=N."""

import csv
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from cifar_imbalance.configuration import installed
from cifar_imbalance.configuration.fields import OBJECTIVES, SearchConfig, TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.schema import field_paths, number_type
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.metrics import summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.search import TrialResult, front_of, write_search_report
from cifar_imbalance.search.space import Choice, Interval, read_space
from cifar_imbalance.search.trials import Trials

GROUPS = {"loss": ["cross_entropy", "focal"], "augmentation": ["none", "flip", "cutout"]}
SPACE = ["schedule.max_lr=tag(log,interval(0.001,0.01))", "loss=cross_entropy,focal", "loss.focal.gamma=interval(0,3)"]


@pytest.fixture(scope="module")
def optuna():
    return pytest.importorskip("optuna", reason="optuna is not installed: pip install -e '.[search]'")


def rows(file):
    return list(csv.DictReader(file.read_text().splitlines()))


@pytest.fixture
def trained(monkeypatch, optuna):
    """Trials that train nothing: of each its configuration; `results` has what the first, second, ... raises."""
    from cifar_imbalance.search import run

    class Trained(list):
        def __init__(self):
            self.results = {}

    found = Trained()

    def train(config, folder, overrides):
        found.append((config, folder, overrides))
        result = found.results.get(len(found))
        if isinstance(result, BaseException):
            raise result
        return folder

    def results(folder, objectives):
        config = found[-1][0]
        values = {"accuracy": config.schedule.max_lr, "worst_decile_recall": -config.schedule.max_lr, "loss": 1.0}
        return {name: values[name] for name in objectives}

    monkeypatch.setattr(run, "_train", train)
    monkeypatch.setattr(run, "validation_results", results)
    return found


# ---------------------------------------------------------------- the space
@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("schedule.max_lr=interval(0,1)", Interval("", "schedule.max_lr", 0.0, 1.0, whole=False)),
        (
            "schedule.max_lr=tag(log,interval(1e-4,1))",
            Interval("", "schedule.max_lr", 1e-4, 1.0, whole=False, log=True),
        ),
        ("training.epochs=interval(2,5)", Interval("", "training.epochs", 2, 5, whole=True)),
        ("training.epochs=range(2,9,3)", Interval("", "training.epochs", 2, 8, whole=True, step=3)),
        ("training.clip_norm=range(0.5,2,0.5)", Interval("", "training.clip_norm", 0.5, 1.5, whole=False, step=0.5)),
        ("training.batch_size=16,32", Choice("", "training.batch_size", ("16", "32"))),
        ("loss=choice(focal,cross_entropy)", Choice("", "loss", ("focal", "cross_entropy"))),
        ("augmentation=none,[flip,cutout]", Choice("", "augmentation", ("none", "[flip,cutout]"))),
    ],
)
def test_a_space_is_written_as_hydra_writes_several_values(text, parameter):
    (found,) = read_space([text], GROUPS)
    assert found == type(parameter)(**{**vars(parameter), "typed": text})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("trials=2,3", "one value is expected; searched are fields of train.py"),
        ("seed=1,2", "the seed is that of all trials, or chance would be chosen; write seed=NUMBER"),
        ("runtime.threads=1,2", "it changes no result that a search could compare; write one value"),
        ("loss=interval(0,1)", "loss=interval(0,1): choices are listed, loss=NAME,NAME"),
        ("model.name=interval(0,1)", "model.name is not a number; its values are listed, model.name=A,B"),
        ("loss=focal,foccal", "loss=foccal (did you mean focal?): allowed are cross_entropy, focal"),
        ("schedule.max_rl=1,2", "schedule.max_rl: there is no such field (did you mean schedule.max_lr?)"),
        ("training.epochs=interval(1.5,3)", "whole numbers are expected"),
        ("schedule.max_lr=interval(1,0)", "the lower end comes first, schedule.max_lr=interval(LOW,HIGH)"),
        ("schedule.max_lr=tag(log,interval(0,1))", "on a logarithmic scale the lower end is more than 0"),
        ("schedule.max_lr=tag(a,interval(0,1))", "the only tag is log, of an interval"),
        ("schedule.max_lr=shuffle(1,2)", "trials have no order; leave out shuffle"),
        ("training.epochs=range(0,1e9)", "at most 1000 values; training.epochs=interval(LOW,HIGH) has no steps"),
        ("training.epochs=range(3,1)", "there are no values in it"),
    ],
)
def test_what_cannot_be_searched_is_refused(text, line):
    with pytest.raises(UsageError) as refused:
        read_space([text], GROUPS)
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("training.epochs", int), ("training.clip_norm", float), ("model.name", None), ("optimizer.adam.betas", None), ("open", None), ("dataset.image_size", int)],
)  # fmt: skip
def test_numbers_are_known_by_their_field(path, kind):
    assert number_type(TrainConfig, path) is kind


def test_a_search_has_the_groups_and_fields_of_train():
    own = {"trials", "objectives", "output"}
    assert field_paths(SearchConfig) == field_paths(TrainConfig) | own
    choices = [
        [line for line in (CONF / f"{name}.yaml").read_text().splitlines() if line.startswith("  - ") and ": " in line]
        for name in ("train", "search")
    ]
    assert [line.replace("help: search", "help: train") for line in choices[1]] == choices[0]


# ---------------------------------------------------------------- trials
def test_settings_of_one_choice_are_drawn_in_the_trials_that_make_it(typed, tmp_path, trained):
    words = ["experiment=quickstart", *SPACE, "trials=6", "output=search", "augmentation.shift.height_fraction=0.2"]
    answer = typed(tmp_path, "search", *words)
    assert answer.code == 0, answer.err
    assert {config.loss.name for config, _, _ in trained} == {"cross_entropy", "focal"}
    for config, folder, overrides in trained:
        assert 0.001 <= config.schedule.max_lr <= 0.01 and config.augmentation.shift.height_fraction == 0.2
        gammas = [text for text in overrides if text.startswith("loss.focal.gamma=")]
        assert len(gammas) == (config.loss.name == "focal")
        if gammas:
            assert gammas == [f"loss.focal.gamma={config.loss.focal.gamma!r}"]
        assert folder.parent == tmp_path / "search" / "trials"
    assert [folder.name for _, folder, _ in trained] == [f"{number:04d}" for number in range(1, 7)]
    rates = [config.schedule.max_lr for config, _, _ in trained]
    assert len(set(rates)) == 6
    table = rows(tmp_path / "search" / "report" / "trials.csv")
    assert [float(row["accuracy"]) for row in table] == pytest.approx(rates, rel=1e-4)
    assert all((row["loss.focal.gamma"] == "") == (row["loss"] == "cross_entropy") for row in table)


def test_the_same_command_draws_the_same_and_stops_at_the_number_it_is_asked_for(typed, tmp_path, trained):
    words = ["experiment=quickstart", "schedule.max_lr=interval(0.001,0.01)"]

    def drawn(*more):
        before = len(trained)
        assert typed(tmp_path, "search", *words, *more).code == 0
        return [text for _, _, overrides in trained[before:] for text in overrides if text.startswith("schedule")]

    whole = drawn("trials=12", "output=whole")
    assert len(whole) == 12
    assert drawn("trials=5", "output=parts") + drawn("trials=12", "output=parts") == whole
    assert drawn("trials=3", "output=parts") == []
    assert drawn("trials=2", "output=other", "seed=1") != whole[:2]


def test_a_trial_that_fails_counts_and_the_search_goes_on(typed, tmp_path, trained):
    from cifar_imbalance.errors import TrainingFailed

    trained.results = {2: TrainingFailed("the loss is nan at step 3"), 3: UsageError("no such thing")}
    answer = typed(tmp_path, "search", "experiment=quickstart", *SPACE, "trials=4", "output=search")
    assert answer.code == 0, answer.err
    assert len(trained) == 4
    assert "  failed: the loss is nan at step 3\n" in answer.out
    assert "2 failed, the first, trial 2: the loss is nan at step 3\n" in answer.out
    table = rows(tmp_path / "search" / "report" / "trials.csv")
    assert [row["failed"] for row in table] == ["", "the loss is nan at step 3", "no such thing", ""]
    assert [row["accuracy"] == "" for row in table] == [False, True, True, False]


def test_a_search_whose_first_trial_is_refused_ends_with_its_line(typed, tmp_path, trained):
    trained.results = {1: UsageError("dataset.root=x: it is empty")}
    answer = typed(tmp_path, "search", "experiment=quickstart", "schedule.max_lr=0.001,0.001", "trials=4", "output=s")
    line = "cifar_imbalance.search: dataset.root=x: it is empty (in a trial of schedule.max_lr=0.001)\n"
    assert (answer.code, answer.err) == (2, line)
    assert len(trained) == 1


def test_an_interrupted_trial_is_the_next_one_and_the_command_is_named(typed, tmp_path, trained):
    trained.results = {2: KeyboardInterrupt("x")}
    words = ["experiment=quickstart", "schedule.max_lr=interval(0.001,0.01)", "trials=3", "output=search"]
    answer = typed(tmp_path, "search", *words)
    again = (
        "python -m cifar_imbalance.search experiment=quickstart 'schedule.max_lr=interval(0.001,0.01)' trials=3 "
        f"'objectives=[accuracy,worst_decile_recall]' output={tmp_path / 'search'}"
    )
    assert (answer.code, answer.err) == (130, f"cifar_imbalance.search: interrupted; go on with: {again}\n")
    assert typed(tmp_path, "search", *words).code == 0
    numbers = [folder.name for _, folder, _ in trained]
    assert numbers == ["0001", "0002", "0002", "0003"]
    assert trained[1][2] == trained[2][2]


def test_the_command_to_go_on_has_the_folder_of_ones_own_choices(typed, tmp_path, trained):
    trained.results = {1: KeyboardInterrupt("x")}
    (tmp_path / "own").mkdir()
    words = ["experiment=quickstart", "schedule.max_lr=interval(0.001,0.01)", "trials=3", "open=true", "output=search"]
    answer = typed(tmp_path, "search", *words, "--config-dir=own")
    assert answer.err.endswith(f" open=true output={tmp_path / 'search'} --config-dir={tmp_path / 'own'}\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["schedule.max_lr=interval(0.001,0.02)"], "another search is there, whose space is schedule.max_lr=interval(0.001,0.01), not schedule.max_lr=interval(0.001,0.02)"),
        (["schedule.max_lr=interval(0.001,0.01)", "objectives=[loss]"], "another search is there, whose objectives is accuracy worst_decile_recall, not loss"),
        (["schedule.max_lr=interval(0.001,0.01)", "seed=3"], "another search is there, whose trials share experiment=quickstart, not experiment=quickstart seed=3"),
    ],
)  # fmt: skip
def test_the_folder_of_another_search_is_refused(typed, tmp_path, trained, words, line):
    search = ["experiment=quickstart", "trials=1", "output=search"]
    assert typed(tmp_path, "search", *search, "schedule.max_lr=interval(0.001,0.01)").code == 0
    answer = typed(tmp_path, "search", *search, *words)
    assert (answer.code, answer.err) == (
        2, f"cifar_imbalance.search: output={tmp_path / 'search'}: {line}; choose another folder\n",
    )  # fmt: skip
    assert len(trained) == 1


def test_a_line_that_a_killed_process_wrote_in_part_is_dropped(typed, tmp_path, trained):
    words = ["experiment=quickstart", *SPACE, "output=search"]
    assert typed(tmp_path, "search", *words, "trials=2").code == 0
    with (tmp_path / "search" / "journal.jsonl").open("a") as file:
        file.write('{"op_code":4,"worker_id"')
    assert typed(tmp_path, "search", *words, "trials=3").code == 0
    assert len(trained) == 3


# ---------------------------------------------------------------- mistakes
NEEDS = "which needs dataset.validation=holdout, not"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("experiment=quickstart schedule.max_lr=1,2", "trials: a value is missing; write trials=NUMBER"),
        ("experiment=quickstart trials=3", "search: nothing is searched; add FIELD=interval(LOW,HIGH), FIELD=tag(log,interval(LOW,HIGH)), FIELD=range(FROM,TO,STEP) or FIELD=A,B"),
        ("trials=3 schedule.max_lr=1,2", "dataset.name: a value is missing; write dataset.name=VALUE or choose dataset=NAME (experiment=quickstart has one) (in a trial of schedule.max_lr=1)"),
        ("experiment=quickstart trials=0 schedule.max_lr=1,2", "trials=0: allowed is at least 1"),
        ("experiment=quickstart trials=3 objectives=[] schedule.max_lr=1,2", "objectives=[]: at least one, each once, of accuracy, macro_f1, worst_decile_recall, worst_recall, loss, recall_sd, calibration_error"),
        ("experiment=quickstart trials=3 objectives=[acuracy] schedule.max_lr=1,2", "objectives=acuracy (did you mean accuracy?): allowed are accuracy, macro_f1, worst_decile_recall, worst_recall, loss, recall_sd, calibration_error"),
        ("experiment=exp2 trials=3 schedule.max_lr=1,2", f"objectives=[accuracy,worst_decile_recall]: they are of validation images, {NEEDS} test"),
        ("experiment=quickstart trials=3 dataset.validation=holdout,none", f"objectives=[accuracy,worst_decile_recall]: they are of validation images, {NEEDS} none"),
        ("experiment=quickstart trials=3 dataset.split_seed=1,2", "dataset.split_seed=2: trials are compared on the same images; dataset has one value"),
        ("experiment=quickstart trials=3 schedule.max_lr=interval(-1,1)", "schedule.max_lr=-1.0: allowed is more than 0 (in a trial of schedule.max_lr=-1.0)"),
        ("experiment=quickstart trials=3 schedule=cosine,constant schedule.warmup_fraction=interval(0.1,0.2)", "schedule.warmup_fraction=0.1: has no effect: schedule=constant has no warm-up; allowed is 0 (in a trial of schedule=constant schedule.warmup_fraction=0.1)"),
        ("experiment=quickstart trials=3 loss.focal.gamma=interval(0,1)", "loss.focal.gamma=0.0: only with loss=focal, here it is cross_entropy (in a trial of loss.focal.gamma=0.0)"),
        ("experiment=quickstart trials=3 seed=1 seed=1,2", "seed=1,2: the seed is that of all trials, or chance would be chosen; write seed=NUMBER"),
        ("experiment=quickstart trials=3 loss=focal loss=focal,ldam", "loss=focal: loss is searched as well; leave one of them out"),
        ("-m experiment=quickstart trials=3 schedule.max_lr=1,2", "--multirun: a search has trials instead of jobs; leave out -m"),
        ("hydra.sweep.dir=x experiment=quickstart trials=3 schedule.max_lr=1,2", "hydra.sweep.dir=x: write output=x"),
        ("hydra.run.dir=x experiment=quickstart trials=3 schedule.max_lr=1,2", "hydra.run.dir=x: write output=x"),
        ("resume=x trials=3 schedule.max_lr=1,2", "resume=x: a search goes on in its own folder, output=FOLDER"),
        ("experiment=ltbench/crt trials=3 schedule.max_lr=1,2", "experiment=ltbench/crt: is a second stage; write start=RUN, the run that it starts from (in a trial of schedule.max_lr=1)"),
        ("experiment=quickstart trials=3 space=[seed]", "space=[seed]: what is searched is typed as FIELD=interval(LOW,HIGH), "),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_before_any_work(typed, tmp_path, monkeypatch, words, line):
    monkeypatch.setattr(installed, "find_spec", lambda name: object())
    answer = typed(tmp_path, "search", *words.split())
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"cifar_imbalance.search: {line}")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_one_line_has_the_command_that_installs_it(typed, tmp_path, monkeypatch):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    answer = typed(tmp_path, "search", "experiment=quickstart", "trials=3", "schedule.max_lr=1,2")
    assert (answer.code, answer.err) == (
        2,
        "cifar_imbalance.search: search: optuna is not installed; pip install -e '.[search]' installs it\n",
    )


# ---------------------------------------------------------------- the report
def result(number, accuracy, loss, *, on_front):
    return TrialResult(number, {"schedule.max_lr": f"{number}"}, {"accuracy": accuracy, "loss": loss}, on_front, f"trials/{number}")  # fmt: skip


def test_the_front_is_ordered_by_the_first_objective_the_best_first(tmp_path):
    trials = [
        result(0, 0.5, 1.0, on_front=True),
        result(1, 0.4, 2.0, on_front=False),
        result(2, 0.9, 1.5, on_front=True),
    ]
    trials.append(TrialResult(3, {"schedule.max_lr": "3"}, None, False, "", failed="<b>no</b>"))
    assert [trial.number for trial in front_of(trials, ["accuracy", "loss"])] == [2, 0]
    assert [trial.number for trial in front_of(trials, ["loss", "accuracy"])] == [0, 2]
    text = write_search_report(tmp_path, trials, ["accuracy", "loss"], origin=())
    assert text.splitlines() == [
        "the Pareto front of 4 trials, by accuracy, loss of the validation images",
        "1 failed, the first, trial 4: <b>no</b>",
        "trial  accuracy    loss  schedule.max_lr",
        "    3    0.9000  1.5000                2",
        "    1    0.5000  1.0000                0",
    ]
    assert [row["trial"] for row in rows(tmp_path / "front.csv")] == ["3", "1"]
    assert [row["on_front"] for row in rows(tmp_path / "trials.csv")] == ["yes", "", "yes", ""]
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;no&lt;/b&gt;" in page and "<b>no</b>" not in page
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    dots, front = data["part0"]["option"]["series"]
    assert [point["value"] for point in dots["data"]] == [[0.5, 1.0], [0.4, 2.0], [0.9, 1.5]]
    assert [point["value"] for point in front["data"]] == [[0.5, 1.0], [0.9, 1.5]]
    assert (tmp_path / "front.png").is_file()


@pytest.mark.parametrize("objectives", [["accuracy"], ["loss"], ["accuracy", "loss", "recall_sd", "macro_f1"]])
def test_any_number_of_objectives_has_a_plot_and_a_page(tmp_path, objectives):
    draw = np.random.default_rng(0)
    values = [dict(zip(objectives, draw.random(len(objectives)).tolist(), strict=True)) for _ in range(5)]
    trials = [TrialResult(k, {"loss": "focal"}, found, k < 2, f"trials/{k}") for k, found in enumerate(values)]
    write_search_report(tmp_path, trials, objectives, origin=())
    files = {file.name for file in tmp_path.iterdir()} - {"front.pdf"}
    assert files == {"front.png", "front.csv", "trials.csv", "report.html"}


def test_what_is_drawn_from_a_logarithmic_interval_is_shown_on_its_scale(tmp_path):
    texts = ["schedule.max_lr=tag(log,interval(5e-4,3e-2))", "training.epochs=tag(log,interval(1,20))"]
    space = read_space([*texts, "optimizer.weight_decay=interval(0,1)", "loss=cross_entropy,focal"], GROUPS)
    logarithmic = Trials(space, [], lambda overrides: OmegaConf.create()).logarithmic
    assert logarithmic == ["schedule.max_lr", "training.epochs"]
    results = [result(1, 0.5, 1.0, on_front=False), result(2, 0.9, 1.5, on_front=True)]
    write_search_report(tmp_path, results, ["accuracy"], logarithmic=logarithmic, origin=())
    page = (tmp_path / "report.html").read_text()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    scales = {part["option"]["xAxis"]["name"]: part["option"]["xAxis"]["type"] for part in data.values()}
    assert scales == {"trial": "value", "schedule.max_lr": "log"}


def test_every_objective_is_a_result_of_saved_logits(tiny_run):
    assert OBJECTIVES.keys() <= summarize(Predictions.load(tiny_run / "predictions" / "validation.npz")).keys()


# ---------------------------------------------------------------- real trials
def command(tiny_words, count):
    words = [*tiny_words, "schedule.max_lr=tag(log,interval(0.001,0.01))", f"trials={count}", "output=search"]
    return [sys.executable, "-m", "cifar_imbalance.search", *words]


def test_a_search_that_is_killed_in_a_trial_goes_on_to_exactly_the_number_it_is_asked_for(
    optuna, typed, tmp_path, tiny_words
):
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(command(tiny_words, 2), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    begun = tmp_path / "search" / "trials" / "0002" / "checkpoints" / "last.pt"
    while not begun.exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    answer = typed(tmp_path, "search", *command(tiny_words, 2)[3:])
    assert answer.code == 0, answer.err
    assert answer.out.startswith("trial 2 of 2: ")
    assert sorted(folder.name for folder in (tmp_path / "search" / "trials").iterdir()) == ["0001", "0002"]
    table = rows(tmp_path / "search" / "report" / "trials.csv")
    assert [row["folder"] for row in table] == ["trials/0001", "trials/0002"]
    for row in table:
        run = tmp_path / "search" / row["folder"]
        found = summarize(Predictions.load(run / "predictions" / "validation.npz"))
        assert float(row["accuracy"]) == pytest.approx(found["accuracy"], abs=1e-5)
        assert float(row["worst_decile_recall"]) == pytest.approx(found["worst_decile_recall"], abs=1e-5)
    page = (tmp_path / "search" / "report" / "report.html").read_text()
    assert "with another output=FOLDER, makes it again\npython -m cifar_imbalance.search experiment=quickstart" in page
    assert re.search("<td>schedule.max_lr</td><td>0.00[0-9]*, 0.00[0-9]*</td>", page)
    for title in ("Configuration that all runs share", "Environment that all runs share"):
        assert f"<summary>{title}</summary>" in page


def test_a_finished_search_is_reported_again_without_what_trains(optuna):
    found = "import sys, cifar_imbalance.search.run; print(*{'torch', 'timm', 'torchmetrics'} & sys.modules.keys())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    answer = subprocess.run([sys.executable, "-c", found], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == "\n"


def _claim(folder, count, barrier, taken):
    from cifar_imbalance.search.study import Study

    study = Study(folder, ["accuracy"], 0)
    barrier.wait()
    while True:
        with study.next_trial(count) as trial:
            if trial is None:
                return
            taken.put((os.getpid(), trial.number))
            trial.suggest_float("schedule.max_lr", 0.0, 1.0)
            study.tell(trial, [0.5], folder / "trials")


def test_several_processes_share_the_trials_of_one_journal(optuna, tmp_path):
    forks = multiprocessing.get_context("forkserver")
    barrier, taken = forks.Barrier(2), forks.Queue()
    workers = [forks.Process(target=_claim, args=(tmp_path, 20, barrier, taken)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)  # on a busy machine imports take their time
    assert [worker.exitcode for worker in workers] == [0, 0]
    found = [taken.get(timeout=5) for _ in range(20)]
    assert sorted(number for _, number in found) == list(range(20))
    assert taken.empty()
