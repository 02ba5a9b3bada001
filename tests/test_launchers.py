# ruff: noqa: E501 (an input and its error are on one line)
"""Sweeps on joblib, submitit and Ray: killed and run again, pre-empted, failed, and refused before they start."""

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cifar_imbalance.command_line import launchers, sweep_launch
from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]


def need(extra):
    if importlib.util.find_spec("hydra_plugins") is None or not launchers._is_installed(extra):
        pytest.skip(f"hydra-{extra}-launcher is not installed: pip install -e '.[{extra}]'")


class Started:
    """A command line in a process group of its own, as a shell starts it."""

    def __init__(self, cwd, words):
        self.out = cwd / "out"
        environment = {**os.environ, "HOME": str(cwd), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "train.py", *words],
                cwd=cwd, env=environment, start_new_session=True, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait_for(self, folder, pattern, seconds=180):
        """The first file of this name, when there is one."""
        end = time.monotonic() + seconds
        while not (found := list(folder.glob(pattern))):
            assert self.process.poll() is None and time.monotonic() < end, self.out.read_text()
            time.sleep(0.1)
        return found[0]

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ended(self):
        """The exit code, and the lines on the terminal."""
        return self.process.wait(timeout=240), self.out.read_text().splitlines()


def finished(folder):
    return (folder / "report" / "summary.json").is_file()


def begun_again(folder):
    return len(list(folder.glob("environment_resumed_*.json")))


# ---------------------------------------------------------------- refused before they start
EXPECTED = "hydra/launcher=joblib: the number of jobs at a time is expected;"
JOBLIB = [
    (None, (1, 1), f"{EXPECTED} write hydra.launcher.n_jobs=2 (4 cores)"),
    (None, (None,) * 9, f"{EXPECTED} write hydra.launcher.n_jobs=4 runtime.threads=1 (4 cores)"),
    (None, (3, 1), f"{EXPECTED} write hydra.launcher.n_jobs=1 (4 cores)"),
    (-1, (1, 1), "hydra.launcher.n_jobs=-1: the number of jobs at a time is expected; write hydra.launcher.n_jobs=2 (4 cores)"),
    (2, (None, None), "runtime.threads=null: each of 2 jobs at a time would take all idle cores; write runtime.threads=2 (4 cores)"),
    (5, (1,) * 9, "hydra.launcher.n_jobs=5: with runtime.threads=1 that is 5 threads on 4 cores; write hydra.launcher.n_jobs=4"),
    (3, (2,) * 9, "hydra.launcher.n_jobs=3: with runtime.threads=2 that is 6 threads on 4 cores; write hydra.launcher.n_jobs=2"),
]  # fmt: skip


@pytest.mark.parametrize(("n_jobs", "threads", "line"), JOBLIB)
def test_joblib_is_told_how_many_jobs_this_machine_can_run(monkeypatch, n_jobs, threads, line):
    monkeypatch.setattr(launchers, "allowed_cores", lambda: [0, 1, 2, 3])
    runtimes = [Runtime(threads=count) for count in threads]
    launcher, typed = OmegaConf.create({"n_jobs": n_jobs or -1}), ["hydra.launcher.n_jobs"] if n_jobs else []
    with pytest.raises(UsageError) as error:
        launchers.check_cores("joblib", launcher, runtimes, typed)
    assert str(error.value) == line


@pytest.mark.parametrize(("n_jobs", "threads"), [(4, 1), (2, 2), (1, 4), (1, None), (3, 1)])
def test_joblib_may_use_all_cores(monkeypatch, n_jobs, threads):
    monkeypatch.setattr(launchers, "allowed_cores", lambda: [0, 1, 2, 3])
    launcher = OmegaConf.create({"n_jobs": n_jobs})
    launchers.check_cores("joblib", launcher, [Runtime(threads=threads)], ["hydra.launcher.n_jobs"])


@pytest.mark.parametrize(
    ("init", "remote", "threads", "line"),
    [
        ({}, {}, None, "runtime.threads=null: each job would take all idle cores, and Ray reserves 1 for it; write runtime.threads=1"),
        ({}, {}, 2, "runtime.threads=2: Ray reserves 1 core(s) for a job; write +hydra.launcher.ray.remote.num_cpus=2"),
        ({"address": None}, {"num_cpus": 2}, 2, None),
        ({"address": "auto", "object_store_memory": None}, {"num_cpus": 2}, 2, None),
        ({"address": "auto"}, {}, 1, "hydra.launcher.ray.init.address=auto: the plugin sets object_store_memory, which Ray refuses on a cluster that exists; write +hydra.launcher.ray.init.object_store_memory=null as well"),
    ],
)  # fmt: skip
def test_ray_reserves_the_cores_that_a_job_uses_and_is_told_of_a_cluster(init, remote, threads, line):
    launcher = OmegaConf.create({"ray": {"init": init, "remote": remote}})
    if line is None:
        launchers.check_cores("ray", launcher, [Runtime(threads=threads)], [])
        return
    with pytest.raises(UsageError) as error:
        launchers.check_cores("ray", launcher, [Runtime(threads=threads)], [])
    assert str(error.value) == line


@pytest.mark.parametrize(("name", "extra"), launchers.EXTRAS.items())
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(typed, tmp_path, monkeypatch, name, extra):
    monkeypatch.setattr(launchers, "_is_installed", lambda _: False)
    answer = typed(tmp_path, "train", "-m", "seed=0,1", f"hydra/launcher={name}")
    line = f"hydra/launcher={name}: it is not installed; pip install -e '.[{extra}]' installs it"
    assert (answer.code, answer.err) == (2, f"train.py: {line}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "hint"), [("hydra/launcher=submitit_lokal", " (did you mean submitit_local?)"), ("hydra/sweeper=basik", " (did you mean basic?)")]
)  # fmt: skip
def test_an_unknown_plugin_is_named_with_the_nearest(typed, tmp_path, started, word, hint):
    answer = typed(tmp_path, "train", "-m", "seed=0,1", word)
    assert answer.code == 2 and answer.err.startswith(f"train.py: {word}{hint}: allowed are basic")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [] and started == []


def test_a_lost_process_of_a_launcher_gives_one_line_that_says_how_to_go_on(typed, tmp_path, started, monkeypatch):
    """joblib says it with 600 letters of advice."""

    class TerminatedWorkerError(Exception):
        __module__ = "joblib.externals.loky.process_executor"

    def killed(_):
        raise TerminatedWorkerError("A worker process was unexpectedly terminated. This could be caused by\n\na fault.")

    monkeypatch.setattr(sweep_launch, "_launching", killed)
    answer = typed(tmp_path, "train", "-m", "seed=0,1", "hydra.sweep.dir=sweep")
    line = "basic: A worker process was unexpectedly terminated (TerminatedWorkerError); resume with: "
    command = "python train.py -m seed=0,1 hydra.sweep.dir=sweep experiment=quickstart"
    assert (answer.code, answer.err) == (1, f"train.py: {line}{command}\n")
    assert answer.out.endswith("not begun: jobs 1 to 2\n")


def test_joblib_without_a_number_is_refused_before_anything_is_written(typed, tmp_path, started):
    need("joblib")
    answer = typed(tmp_path, "train", "-m", "seed=0,1", "runtime.threads=1", "hydra/launcher=joblib")
    assert answer.code == 2
    assert answer.err.startswith(f"train.py: {EXPECTED} write ")
    assert list(tmp_path.iterdir()) == [] and started == []


# ---------------------------------------------------------------- one job, in another process
def test_a_job_on_joblib_ends_with_the_page_of_its_sweep(tmp_path, tiny_words):
    need("joblib")
    words = ["-m", *tiny_words, "training.epochs=1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]
    code, lines = Started(tmp_path, [*words, "hydra.sweep.dir=sweep", "seed=0"]).ended()
    run = tmp_path / "sweep" / "1_quickstart_0"
    assert code == 0, lines
    assert lines[1].startswith("job 1 of 1: accuracy 0.") and lines[1].endswith(f"; {run}")
    assert lines[-3:] == [
        f"sweep: {tmp_path / 'sweep' / 'sweep.csv'}",
        f"page:  {tmp_path / 'sweep' / 'report' / 'report.html'}",
        f"next:  python evaluate.py ckpt={run}",
    ]
    assert finished(run) and (tmp_path / "sweep" / "report" / "report.html").is_file()


# ---------------------------------------------------------------- killed and run again
LAUNCHERS = [
    ("joblib", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]),
    ("submitit", ["hydra/launcher=submitit_local"]),
    ("ray", ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=1"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "launcher"), LAUNCHERS)
def test_a_killed_sweep_goes_on_and_names_what_failed(tmp_path, tiny_words, extra, launcher):
    need(extra)
    swept = ["optimizer=sgd", "schedule.max_lr=0.01,1e6", "hydra.sweep.dir=sweep"]
    words = ["-m", *tiny_words, *swept, *launcher]
    sweep = tmp_path / "sweep"
    good, bad = sweep / "1_quickstart_0", sweep / "2_quickstart_0"
    first = Started(tmp_path, words)
    first.wait_for(good, "checkpoints/last.pt")
    first.kill()
    assert not finished(good)
    code, lines = Started(tmp_path, words).ended()
    assert code == 1, lines
    assert finished(good) and begun_again(good) == 1 and not finished(bad)
    assert [path.name for path in sorted(sweep.glob("[0-9]*"))] == [good.name, bad.name]
    of_jobs = sorted({line for line in lines if line.startswith("job ") and " of 2: " in line})
    assert len(of_jobs) == 2
    assert of_jobs[0].startswith("job 1 of 2: schedule.max_lr=0.01: accuracy 0.")
    assert of_jobs[0].endswith(f"; {good}")
    assert of_jobs[1].startswith("job 2 of 2: schedule.max_lr=1000000.0: failed: ") and "the loss is" in of_jobs[1]
    assert of_jobs[1].endswith(f"; see {bad / 'train.log'}")
    assert lines[-2:] == [f"train.py: {of_jobs[1]}", "train.py: 1 of the sweep's jobs failed"]
    assert not [line for line in lines if "precision" in line or line.startswith(("epoch", "Traceback"))]
    assert "Traceback" in (bad / "train.log").read_text()
    rows = list(csv.DictReader((sweep / "sweep.csv").read_text().splitlines()))
    assert [(row["job"], row["folder"], row["accuracy"] != "") for row in rows] == [
        ("1", str(good), True),
        ("2", str(bad), False),
    ]


@pytest.mark.slow
def test_a_preempted_job_goes_on(tmp_path, tiny_words):
    """submitit tells a job by SIGUSR2 that SLURM takes its machine, and calls it again on another one."""
    need("submitit")
    words = ["-m", *tiny_words, "seed=0", "hydra.sweep.dir=sweep", "hydra/launcher=submitit_local"]
    run = tmp_path / "sweep" / "1_quickstart_0"
    sweep = Started(tmp_path, words)
    sweep.wait_for(run, "checkpoints/last.pt")
    (submitted,) = (tmp_path / "sweep" / ".submitit").glob("[0-9]*")
    (job,) = Path(f"/proc/{submitted.name}/task/{submitted.name}/children").read_text().split()
    os.kill(int(job), signal.SIGUSR2)
    code, lines = sweep.ended()
    assert code == 0, lines
    assert finished(run) and begun_again(run) == 1
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    logs = "".join(log.read_text() for log in submitted.glob("*_log.*"))
    assert "this job is preempted" in logs and "Requeued job" in logs
    assert lines[1].startswith("job 1 of 1: ") and "accuracy 0." in lines[1]
