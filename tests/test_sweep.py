"""Sweeps: all jobs are checked before the first one starts, and a failed job does not affect the others."""

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from cifar_imbalance.command_line.composer import Composer
from cifar_imbalance.command_line.sweep import METRICS, free_folder
from cifar_imbalance.configuration.differences import fingerprint
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.engine import evaluation, experiment, loop
from cifar_imbalance.runs.folder import RunFolder


def test_every_combination_is_a_job(typed, tmp_path, started):
    assert (
        typed(tmp_path, "train", "-m", "experiment=quickstart", "seed=0,1,2", "augmentation=none,flip,cutout").code == 0
    )
    jobs = [(c.seed, c.augmentation.flip is not None, c.augmentation.cutout is not None) for c, _ in started]
    kinds = [(False, False), (True, False), (False, True)]
    assert jobs == [(seed, *kind) for seed in (0, 1, 2) for kind in kinds]


def test_jobs_that_differ_in_single_values_are_composed_once_and_as_hydra_does(typed, tmp_path, monkeypatch):
    typed(tmp_path, "train", "--cfg", "job")  # the program registers its schema and resolvers
    composed = []

    def counted(name, overrides, **options):
        composed.append(overrides)
        return compose(name, overrides, **options)

    monkeypatch.setattr("cifar_imbalance.command_line.composer.compose", counted)
    one_by_one = Composer("train", TrainConfig, [])
    jobs = [
        ["dataset=digits", f"model={model}", f"seed={seed}", f"schedule.max_lr={rate}", "augmentation.order=[flip]"]
        for model in ("b0", "tiny") for seed in range(3) for rate in (0.1, 1e-3)
    ]  # fmt: skip
    for number, job in enumerate(jobs):
        config = one_by_one(job, number)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            expected = compose("train", job, return_hydra_config=True)
        OmegaConf.set_readonly(expected.hydra, False)
        expected.hydra.job.num = number
        for part in (config, expected):
            HydraConfig.instance().set_config(part)
        assert [config[name] for name in config if name != "hydra"] == [
            expected[name] for name in expected if name != "hydra"
        ]
        assert config.hydra.sweep.subdir == expected.hydra.sweep.subdir
        assert config.hydra.overrides.task == expected.hydra.overrides.task
    assert len(composed) == 2


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["training.clip_norm=5", "training.clip_norm=null"], "training.clip_norm", None),
        (["training.clip_norm=null", "training.clip_norm=5"], "training.clip_norm", 5),
        (["optimizer.sgd.momentum=0.5", "optimizer.sgd={momentum:0.1}"], "optimizer.sgd.momentum", 0.1),
    ],
)
def test_of_two_overrides_of_a_field_the_last_counts(typed, tmp_path, words, field, value):
    typed(tmp_path, "train", "--cfg", "job")  # the program registers its schema and resolvers
    assert OmegaConf.select(Composer("train", TrainConfig, [])(["dataset=digits", *words]), field) == value


def test_two_sweeps_of_one_second_have_a_folder_each(typed, tmp_path, started):
    assert [free_folder(tmp_path / "new" / "second").name for _ in range(3)] == ["second", "second_2", "second_3"]
    assert typed(tmp_path, "train", "-m", "seed=0,1").code == 0
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert folder.is_dir()


def test_a_list_is_one_choice_of_a_sweep(typed, tmp_path, started):
    assert typed(tmp_path, "train", "-m", "dataset=digits", "augmentation=none,[flip,cutout]").code == 0
    assert [c.augmentation.flip is not None for c, _ in started] == [False, True]


def test_an_invalid_value_in_job_7_is_rejected_before_job_0(typed, tmp_path, started):
    answer = typed(tmp_path, "train", "-m", "seed=0,1", "training.batch_size=2,3,4,-4")
    assert (answer.code, answer.err) == (
        2,
        "train.py: training.batch_size=-4: allowed is at least 2 and at most 65536\n",
    )
    assert started == []
    assert list(tmp_path.iterdir()) == []


def test_one_process_cannot_use_xla_in_two_ways(typed, tmp_path, started):
    if importlib.util.find_spec("torch_xla") is None:
        pytest.skip("torch_xla is not installed: pip install -e '.[xla]'")
    for words, found in {
        ("runtime=cpu,xla",): "cpu with devices=None, xla with devices=None",
        ("runtime=xla", "runtime.devices=1,2"): "xla with devices=1, xla with devices=2",
    }.items():
        answer = typed(tmp_path, "train", "-m", *words)
        assert answer.code == 2
        assert answer.err == (
            f"train.py: runtime: this sweep has {found}; XLA claims its devices once per process, allowed is one "
            "of them\n"
        )
    assert typed(tmp_path, "train", "-m", "runtime=xla", "seed=0,1").code == 0
    assert [config.runtime.name for config, _ in started] == ["xla", "xla"]


def test_jobs_that_fail_do_not_stop_the_others_and_are_named_at_the_end(typed, tmp_path, tiny_words):
    words = [word for word in tiny_words if not word.startswith("training.epochs")]
    sweep = [
        "-m",
        "seed=0,1",
        "optimizer=sgd",
        "schedule.max_lr=0.01,1e6",
        "training.epochs=1",
        "hydra.sweep.dir=sweep",
    ]
    answer = typed(tmp_path, "train", *sweep, *words)
    assert answer.code == 1
    folders = [tmp_path / "sweep" / f"{job + 1}_quickstart_{job // 2}" for job in range(4)]
    assert [(folder / "report" / "summary.json").exists() for folder in folders] == [True, False, True, False]
    first, second, last = answer.err.splitlines()
    assert first.startswith("train.py: job 2 of 4: seed=0 schedule.max_lr=1000000.0: failed: ")
    assert "the loss is" in first
    assert second.startswith("train.py: job 4 of 4: seed=1 schedule.max_lr=1000000.0: failed: ")
    rows = list(csv.DictReader((tmp_path / "sweep" / "sweep.csv").read_text().splitlines()))
    assert [(row["job"], row["seed"], row["schedule.max_lr"], row["folder"]) for row in rows] == [
        ("1", "0", "0.01", str(folders[0])),
        ("2", "0", "1000000.0", str(folders[1])),
        ("3", "1", "0.01", str(folders[2])),
        ("4", "1", "1000000.0", str(folders[3])),
    ]
    summary = json.loads((folders[2] / "report" / "summary.json").read_text())
    assert [float(rows[2][name]) for name in METRICS] == [round(summary[name], 4) for name in METRICS]
    assert rows[1]["accuracy"] == ""
    lines = answer.out.splitlines()
    assert [line for line in lines if line.startswith("job ")][:2] == [
        "job 1 of 4: seed=0 schedule.max_lr=0.01",
        "job 2 of 4: seed=0 schedule.max_lr=1000000.0",
    ]
    assert lines[-8].split() == ["job", "seed", "schedule.max_lr", *METRICS]
    assert lines[-6].split() == ["2", "0", "1000000.0", "-", "-", "-", "-"]
    assert lines[-3:] == [
        f"sweep: {tmp_path / 'sweep' / 'sweep.csv'}",
        f"page:  {tmp_path / 'sweep' / 'report' / 'report.html'}",
        f"next:  python evaluate.py ckpt={tmp_path / 'sweep'} reference=OTHER_SWEEP",
    ]
    assert last == "train.py: 2 of the sweep's jobs failed"
    for folder in (folders[1], folders[3]):
        assert "Traceback" in (folder / "train.log").read_text()
        assert str(folder.relative_to(tmp_path)) in answer.err


def test_a_job_that_is_unsuitable_for_the_data_has_a_traceback_in_its_log(typed, tmp_path, tiny_words):
    words = [word for word in tiny_words if not word.startswith("training.")]
    answer = typed(tmp_path, "train", "-m", "training.batch_size=5000,6000", "hydra.sweep.dir=sweep", *words)
    assert answer.code == 1
    assert "job 1 of 2: training.batch_size=5000: failed: " in answer.err
    assert "training.batch_size=5000: there are only 464 training images" in answer.err
    assert "Traceback" in (tmp_path / "sweep" / "1_quickstart_0" / "train.log").read_text()


def test_a_failed_evaluation_has_a_traceback_in_its_log(tiny_run, tmp_path, typed, monkeypatch):
    def broken(*_, **__):
        raise KeyError("a defect")

    monkeypatch.setattr(evaluation, "write_report", broken)
    answer = typed(tmp_path, "evaluate", "-m", f"ckpt={tiny_run}", "split=test,validation", "hydra.sweep.dir=sweep")
    assert answer.code == 1 and "2 of the sweep's jobs failed" in answer.err
    logs = [log.read_text() for log in (tmp_path / "sweep").rglob("evaluate.log")]
    assert len(logs) == 2 and all("Traceback" in log and "KeyError: 'a defect'" in log for log in logs)


def test_an_interruption_stops_the_sweep(typed, tmp_path, monkeypatch):
    started = []

    def interrupted(config, *_):
        started.append(config.seed)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "run_experiment", interrupted)
    answer = typed(tmp_path, "train", "-m", "seed=0,1,2")
    again = "python train.py -m seed=0,1,2 experiment=quickstart hydra.sweep.dir="
    assert answer.code == 130
    assert answer.err.startswith(f"train.py: interrupted; resume with: {again}outputs/sweeps/")
    assert answer.out.splitlines()[-1] == "not begun: jobs 2 to 3"
    assert started == [0]


# ---------------------------------------------------------------- a sweep that is started again in its folder
@pytest.fixture
def sweep_words(tiny_words):
    return ["-m", "seed=0,1", "hydra.sweep.dir=sweep", *tiny_words]


@pytest.fixture(scope="module")
def finished_sweep(tmp_path_factory, typed, tiny_words):
    folder = tmp_path_factory.mktemp("finished")
    answer = typed(folder, "train", "-m", "seed=0,1", "hydra.sweep.dir=sweep", *tiny_words)
    assert answer.code == 0, answer.err
    return folder / "sweep"


@pytest.fixture
def finished(finished_sweep, tmp_path):
    """A sweep of two seeds that has ended, as `sweep` in the working folder."""
    return shutil.copytree(finished_sweep, tmp_path / "sweep")


def test_what_is_finished_is_skipped_and_what_is_not_is_resumed(typed, tmp_path, sweep_words, monkeypatch):
    def interrupted(config, epoch, plan=loop.plan_epoch, **rest):
        if (config.seed, epoch) == (1, 1):
            raise KeyboardInterrupt
        return plan(config, epoch, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "plan_epoch", interrupted)
        assert typed(tmp_path, "train", *sweep_words).code == 130
    folders = [tmp_path / "sweep" / f"{job}_quickstart_{job - 1}" for job in (1, 2)]
    first = (folders[0] / "metrics.jsonl").read_text()
    answer = typed(tmp_path, "train", *sweep_words)
    assert answer.code == 0, answer.err
    assert (folders[0] / "metrics.jsonl").read_text() == first
    assert "1_quickstart_0 is finished; nothing was done" in answer.out
    assert len((folders[1] / "metrics.jsonl").read_text().splitlines()) == 2
    assert len(list(folders[1].glob("environment_resumed_*.json"))) == 1
    assert sorted(path.name for path in (tmp_path / "sweep").glob("*_quickstart_*")) == [f.name for f in folders]
    rows = list(csv.DictReader((tmp_path / "sweep" / "sweep.csv").read_text().splitlines()))
    assert [row["folder"] for row in rows] == [str(folder) for folder in folders]
    assert all(row["accuracy"] for row in rows)


def test_jobs_are_known_by_their_configuration_whatever_their_number(typed, tmp_path, sweep_words, finished):
    more = [word.replace("seed=0,1", "seed=2,1,0") for word in sweep_words]
    answer = typed(tmp_path, "train", *more)
    assert answer.code == 0, answer.err
    names = ["1_quickstart_0", "1_quickstart_2", "2_quickstart_1"]
    assert sorted(path.name for path in (tmp_path / "sweep").glob("*_quickstart_*")) == names
    assert answer.out.count("is finished; nothing was done") == 2
    rows = list(csv.DictReader((tmp_path / "sweep" / "sweep.csv").read_text().splitlines()))
    assert [(row["seed"], Path(row["folder"]).name) for row in rows] == [
        ("2", "1_quickstart_2"),
        ("1", "2_quickstart_1"),
        ("0", "1_quickstart_0"),
    ]


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ("engine.grouping.LARGEST_LOGITS", "the saved logits of its 2 runs have 0.0 GiB"),
        ("report.groups.MOST_GROUPS", "group_by=experiment: makes 1 groups; a table has at most 0"),
    ],
)
def test_a_sweep_that_is_too_large_for_a_page_says_so(typed, tmp_path, sweep_words, finished, monkeypatch, limit, why):
    monkeypatch.setattr(f"cifar_imbalance.{limit}", 0)
    answer = typed(tmp_path, "train", *sweep_words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.endswith(f"sweep: {finished / 'sweep.csv'}\npage:  none: {why}\n")


def test_a_run_without_a_checkpoint_begins_anew(typed, tmp_path, sweep_words, finished):
    run = tmp_path / "sweep" / "2_quickstart_1"
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / "report")
    assert typed(tmp_path, "train", *sweep_words).code == 0
    assert (run / "report" / "summary.json").is_file()
    assert not list(run.glob("environment_resumed_*.json"))


def test_another_configuration_does_not_go_on_with_a_run(typed, tmp_path, sweep_words, finished):
    one = [word.replace("seed=0,1", "seed=0") for word in sweep_words]
    assert typed(tmp_path, "train", *one, "optimizer.weight_decay=0.1").code == 0
    assert (tmp_path / "sweep" / "1_quickstart_0_2" / "report" / "summary.json").is_file()
    (row,) = csv.DictReader((tmp_path / "sweep" / "sweep.csv").read_text().splitlines())
    assert row["folder"].endswith("_2")
    summary = json.loads(Path(row["folder"], "report", "summary.json").read_text())
    assert float(row["accuracy"]) == round(summary["accuracy"], 4)


def test_a_sweep_does_not_begin_in_a_run_and_a_launcher_is_only_of_a_sweep(typed, tiny_run, tmp_path, tiny_words):
    answer = typed(tmp_path, "train", "-m", "seed=0,1", *tiny_words, f"hydra.sweep.dir={tiny_run}")
    line = f"train.py: hydra.sweep.dir={tiny_run}: it is the folder of a run; choose another\n"
    assert (answer.code, answer.err) == (2, line)
    answer = typed(tmp_path, "train", *tiny_words, "hydra/launcher=basic")
    line = "train.py: hydra/launcher=basic: only with -m, which makes a sweep\n"
    assert (answer.code, answer.err) == (2, line)
    assert not list(tmp_path.iterdir())


def test_a_job_that_another_process_trains_is_left_to_it(typed, tmp_path, sweep_words, finished):
    place = int(fingerprint(RunFolder(tmp_path / "sweep" / "1_quickstart_0").read_config())[:12], 16)
    for run in (tmp_path / "sweep").glob("*_quickstart_*"):
        shutil.rmtree(run)
    holding = (
        f"import fcntl, sys; file = open('sweep/.jobs', 'a'); fcntl.lockf(file, fcntl.LOCK_EX, 1, {place}); "
        "print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", holding], cwd=tmp_path, **pipes) as other:
        other.stdout.readline()
        answer = typed(tmp_path, "train", *sweep_words)
        other.stdin.close()
    assert answer.code == 0, answer.err
    assert "job 1 of 2: seed=0\nanother process is training it\njob 2 of 2: seed=1\n" in answer.out
    assert not (tmp_path / "sweep" / "1_quickstart_0").exists()
    assert (tmp_path / "sweep" / "2_quickstart_1" / "report" / "summary.json").is_file()
