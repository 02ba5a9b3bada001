"""Trackers: they receive what the run's own files say, change nothing in it, and cannot fail it."""

import csv
import importlib.util
import json
import shutil
import time

import pytest
from PIL import Image

from cifar_imbalance.configuration import installed
from cifar_imbalance.configuration.fields import TRACKERS
from cifar_imbalance.trackers import tracking
from cifar_imbalance.trackers.base import Tracker


def installed_or_skip(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[{package}]'")


def history_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def numbers(line):
    return {name: value for name, value in line.items() if isinstance(value, int | float) and name != "epoch"}


def summary_of(run):
    return json.loads((run / "report" / "summary.json").read_text())


@pytest.fixture(autouse=True)
def no_settings_of_services(monkeypatch):
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake(monkeypatch):
    """fake(start, log, finish): a tracker in the place of wandb, which calls these; returns what it was sent."""

    def made(**calls):
        sent = []

        class Fake(Tracker):
            def __init__(self, run):
                sent.append(("start", run))
                calls.get("start", lambda: None)()

            def log(self, metrics, step):
                sent.append((step, metrics))
                calls.get("log", lambda: None)()

            def finish(self, summary, classes, figures):
                sent.append(("finish", (summary, classes, figures)))
                calls.get("finish", lambda: None)()

            def close(self, *, finished):
                sent.append(("close", finished))

        monkeypatch.setattr(tracking, "Fake", Fake, raising=False)
        monkeypatch.setitem(tracking.TRACKERS, "wandb", (tracking.__name__, "Fake"))
        monkeypatch.setattr(installed, "find_spec", lambda name: object())
        return sent

    return made


def test_every_name_is_a_tracker():
    assert tuple(tracking.TRACKERS) == TRACKERS


def test_a_tracker_receives_metrics_configuration_results_classes_and_plots(
    typed, tmp_path, tiny_run, tiny_words, fake
):
    sent = fake()
    answer = typed(tmp_path, "train", *tiny_words, "logger=wandb", "plots.png=true", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    (_, run), *epochs, (_, (summary, classes, figures)), closed = sent
    assert (run.name, run.experiment, run.epochs_done) == ("run", "quickstart", 0)
    assert run.config["optimizer.name"] == "adamw" and run.config["training.epochs"] == 2
    assert epochs == [(line["epoch"], numbers(line)) for line in history_of(tmp_path / "run")]
    assert "validation_macro_f1" in epochs[0][1]
    assert summary == {k: v for k, v in summary_of(tmp_path / "run").items() if isinstance(v, int | float)}
    with (tmp_path / "run" / "report" / "classification_report.csv").open() as file:
        header, *rows = csv.reader(file)
    assert classes.columns == header
    assert [float(row[header.index("recall")]) for row in rows] == [row[header.index("recall")] for row in classes.rows]
    assert figures["confusion"] == tmp_path / "run" / "report" / "confusion.png"
    assert closed == ("close", True)


@pytest.mark.parametrize("where", ["start", "log", "finish"])
def test_a_service_that_fails_changes_nothing_and_is_named_with_the_command_that_sends_it_later(
    typed, tmp_path, tiny_run, tiny_words, fake, where
):
    def fail():
        raise ConnectionError("the service\nis gone")

    sent = fake(**{where: fail})
    answer = typed(tmp_path, "train", *tiny_words, "logger=wandb", "hydra.run.dir=run")
    assert (answer.code, answer.err) == (0, "")
    assert [name for name, _ in sent] == {"start": ["start"], "log": ["start", 1], "finish": ["start", 1, 2, "finish"]}[
        where
    ]
    line = "logger=wandb: ConnectionError: the service is gone; nothing more is sent; once the run is finished: "
    line += f"python -m cifar_imbalance.track ckpt={tmp_path / 'run'} logger=wandb"
    assert answer.out.count(line) == 1
    for name in ("history_sha256", "predictions_sha256"):
        assert summary_of(tmp_path / "run")[name] == summary_of(tiny_run)[name]


def test_a_resumed_run_goes_on_in_the_tracker_it_began_in(typed, tmp_path, tiny_words, fake):
    installed_or_skip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def interrupt():
        if len(sent) == 2:
            raise KeyboardInterrupt

    sent = fake(log=interrupt)
    words = [*tiny_words, "logger=[tensorboard,wandb]"]
    assert typed(tmp_path, "train", *words, "hydra.run.dir=run").code == 130
    assert sent[-1] == ("close", False)
    assert typed(tmp_path, "train", "resume=run").code == 0
    first, second = (run for name, run in sent if name == "start")
    assert (second.id, first.epochs_done, second.epochs_done) == (first.id, 0, 1)
    assert [name for name, _ in sent] == ["start", 1, "close", "start", 2, "finish", "close"]
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    found = [(event.step, event.value) for event in events.Scalars("train_loss")]
    expected = [(line["epoch"], pytest.approx(line["train_loss"])) for line in history_of(tmp_path / "run")]
    assert found == expected


def test_members_of_an_ensemble_are_runs_of_their_own(typed, tmp_path, tiny_words, fake):
    sent = fake()
    words = [*tiny_words, "ensemble.members=2", "ensemble.workers=1", "logger=wandb"]
    assert typed(tmp_path, "train", *words, "hydra.run.dir=run").code == 0
    runs = [run for name, run in sent if name == "start"]
    assert [run.name for run in runs] == ["run_members_0", "run_members_1", "run"]
    assert len({run.id for run in runs}) == 3
    assert [name for name, _ in sent[-3:]] == ["start", "finish", "close"]


# ---------------------------------------------------------------- the services
@pytest.fixture
def replayed(typed, tiny_run, tmp_path):
    """replayed(name): the tiny run, in the folder `run`, sent to a tracker."""
    shutil.copytree(tiny_run, tmp_path / "run")

    def replay(name):
        installed_or_skip(name)
        answer = typed(tmp_path, "track", "run", f"logger={name}")
        assert (answer.code, answer.err) == (0, ""), answer.out
        assert answer.out == f"run: 2 epochs sent to {name}\n"
        return history_of(tiny_run), summary_of(tiny_run)

    return replay


def test_tensorboard_has_the_replayed_run_once_however_often_it_is_replayed(replayed, tmp_path):
    replayed("tensorboard")
    history, summary = replayed("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    for line in history:
        for name, value in numbers(line).items():
            (event,) = [event for event in events.Scalars(name) if event.step == line["epoch"]]
            assert event.value == pytest.approx(value)
    assert events.Scalars("summary/macro_f1")[0].value == pytest.approx(summary["macro_f1"])
    with Image.open(tmp_path / "run" / "report" / "confusion.png") as image:
        assert (events.Images("confusion")[0].width, events.Images("confusion")[0].height) == image.size


def wandb_records(content):
    """The records of W&B's file, a LevelDB log: blocks of 32 KiB, whose parts have a checksum, a length and a type."""
    place, record = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.mark.slow
def test_wandb_has_the_replayed_run_offline_once_however_often_it_is_replayed(replayed, tmp_path):
    replayed("wandb")
    time.sleep(1.1)  # W&B names folders by the second
    history, summary = replayed("wandb")
    from wandb.proto import wandb_internal_pb2

    (file,) = (tmp_path / "outputs" / "wandb").glob("offline-run-*/*.wandb")
    values, results = {}, {}
    for data in wandb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        for item in record.history.item:
            name = item.key or ".".join(item.nested_key)
            values.setdefault(name, []).append(json.loads(item.value_json))
        for item in record.summary.update:
            results[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    assert values["train_loss"] == [line["train_loss"] for line in history]
    assert results["macro_f1"] == summary["macro_f1"]
    assert {"classes._type", "confusion._type"} <= values.keys()


@pytest.mark.slow
def test_mlflow_has_the_replayed_run_once_however_often_it_is_replayed(replayed, tmp_path):
    replayed("mlflow")
    history, summary = replayed("mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("cifar_imbalance").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.name"] == "adamw"
    assert run.data.metrics["summary/macro_f1"] == summary["macro_f1"]
    found = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(m.step, m.value) for m in found] == [(line["epoch"], line["train_loss"]) for line in history]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"classes.json", "confusion.png"}


@pytest.mark.slow
def test_trackio_has_the_replayed_run_once_however_often_it_is_replayed(replayed, tmp_path):
    replayed("trackio")
    history, summary = replayed("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("cifar_imbalance")
    logs = SQLiteStorage.get_logs("cifar_imbalance", name)
    assert [line["train_loss"] for line in logs if "train_loss" in line] == [line["train_loss"] for line in history]
    assert logs[-1]["summary/macro_f1"] == summary["macro_f1"]


# ---------------------------------------------------------------- mistakes
MISSING = "a value is missing; write ckpt=RUN_FOLDER logger=NAME (tensorboard, wandb, mlflow, trackio)"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], f"ckpt: {MISSING}"),
        (["RUN"], f"logger: {MISSING}"),
        (["logger=comet", "RUN"], "logger=comet: allowed are tensorboard, wandb, mlflow, trackio"),
        (["RUN", "logger=comet"], "logger=comet: allowed are tensorboard, wandb, mlflow, trackio"),
        (["RUN", "logger=[]"], "logger=[]: allowed are tensorboard, wandb, mlflow, trackio"),
        (["RUN", "logger=wandb"], "logger=wandb: wandb is not installed; pip install -e '.[wandb]' installs it"),
        (["nowhere", "logger=wandb"], "logger=wandb: wandb is not installed; pip install -e '.[wandb]' installs it"),
        (["RUN", "logger=tensorboard", "seed=1"], "seed: there is no such field; allowed are ckpt, logger"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_replay(typed, tmp_path, tiny_run, monkeypatch, words, line):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    answer = typed(tmp_path, "track", *(str(tiny_run) if word == "RUN" else word for word in words))
    assert (answer.code, answer.out, answer.err) == (2, "", f"cifar_imbalance.track: {line}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_refused_before_its_folder_exists_if_a_tracker_is_not_installed(typed, tmp_path, monkeypatch):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    answer = typed(tmp_path, "train", "experiment=quickstart", "logger=[tensorboard,mlflow]")
    line = "train.py: logger=tensorboard: tensorboard is not installed; pip install -e '.[tensorboard]' installs it\n"
    assert (answer.code, answer.out, answer.err) == (2, "", line)
    assert list(tmp_path.iterdir()) == []


def test_only_finished_runs_are_replayed(typed, tmp_path, tiny_run, monkeypatch):
    monkeypatch.setattr(installed, "find_spec", lambda name: object())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_bytes((tiny_run / "config.yaml").read_bytes())
    answer = typed(tmp_path, "track", "run", "logger=wandb")
    line = "cifar_imbalance.track: ckpt=run: it is not finished (report/summary.json)\n"
    assert (answer.code, answer.err) == (2, line)
