# ruff: noqa: E501 (an input and its error are on one line)
"""The command line: readable help; a mistake gives an immediate one-line error and leaves nothing behind."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.schema import field_paths

ROOT = Path(__file__).resolve().parents[1]
FIELDS = ", ".join(sorted(path for path in field_paths(TrainConfig) if "." not in path))
GROUPS = {
    group: ", ".join(
        path.relative_to(ROOT / "conf" / group).with_suffix("").as_posix()
        for path in sorted((ROOT / "conf" / group).rglob("*.yaml"))
    )
    for group in sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir())
    if group in field_paths(TrainConfig)
}
NO_DATASET = (
    "dataset.name: a value is missing; write dataset.name=VALUE or choose dataset=NAME (experiment=quickstart has one)"
)

HYDRAS_OWN = (
    "of Hydra's own fields, allowed are hydra.run.dir, hydra.sweep.dir, hydra.sweep.subdir, "
    "hydra/launcher and its fields, hydra/sweeper and its fields"
)

# Checked without importing torch: the configuration and the existence of paths.
MISTAKES = [
    ("train", "seeed=1", f"seeed: there is no such field (did you mean seed?); allowed are {FIELDS}"),
    ("train", "batch_size=3", f"batch_size: there is no such field (did you mean training.batch_size?); allowed are {FIELDS}"),
    ("train", "training.batchsize=3", "training.batchsize: there is no such field (did you mean training.batch_size?); allowed are training.batch_size, training.clip_norm, training.ema_decay, training.epochs, training.eval_batch_size, training.head_max_norm"),
    ("train", "modle=b0", "modle: there is no such group or field (did you mean model?); groups are " + ", ".join(GROUPS)),
    ("train", "optimizer=no_such_optimum", f"optimizer=no_such_optimum: allowed are {GROUPS['optimizer']}"),
    ("train", "loss=no_such_loss", f"loss=no_such_loss: allowed are {GROUPS['loss']}"),
    ("train", "experiment=quickstrat", f"experiment=quickstrat (did you mean quickstart?): allowed are {GROUPS['experiment']}"),
    ("train", "ensemble.augmentations=flip", "ensemble.augmentations: a list of lists of names such as [[flip],[flip,cutout]] is expected"),
    ("train", "ensemble.augmentations=[flip]", "ensemble.augmentations: a list of lists of names such as [[flip],[flip,cutout]] is expected"),
    ("evaluate", "ckpt=[absent,FILE]", "ckpt=absent: there is no such folder; a run folder is expected"),
    ("train", "augmentation=[flip,cutot]", f"augmentation=cutot (did you mean cutout?): allowed are {GROUPS['augmentation']}"),
    ("train", "model=[b0,b5]", "model=[b0,b5]: one choice is expected; only augmentation takes a list"),
    ("train", "model=null", f"model=null: allowed are {GROUPS['model']}"),
    ("train", "training.batch_size=abc", "training.batch_size=abc: a whole number is expected"),
    ("train", "training.batch_size=1.5", "training.batch_size=1.5: a whole number is expected"),
    ("train", "training.batch_size=null", "training.batch_size=null: a whole number is expected"),
    ("train", "training.clip_norm=x", "training.clip_norm=x: a number or null is expected"),
    ("train", "deterministic=maybe", "deterministic=maybe: true or false is expected"),
    ("train", "schedule.four_phases.warmup_epochs=1.5", "schedule.four_phases.warmup_epochs=1.5: a whole number is expected"),
    ("train", "schedule.step.milestones=3", "schedule.step.milestones: a list of numbers such as [0.9,1.1] is expected"),
    ("train", "training=3", "training=3: a block of fields, training.FIELD=VALUE, is expected"),
    ("train", "+typo=1", "+typo=1: fields cannot be added; no field or group is called typo"),
    ("train", "+model=b5", "+model=b5: fields cannot be added; write model=b5"),
    ("train", "~optimizer", f"~optimizer: groups and fields cannot be deleted; choose another with optimizer=NAME: {GROUPS['optimizer']}"),
    ("train", "~training.epochs", "~training.epochs: groups and fields cannot be deleted; set its value instead"),
    ("train", "training.batch_size=-1", "training.batch_size=-1: allowed is at least 2 and at most 65536"),
    ("train", "dataset=digits augmentation=cutout augmentation.cutout.size_fraction=1.5", "augmentation.cutout.size_fraction=1.5: allowed is more than 0 and at most 1"),
    ("train", "augmentation.cutout.count=2", "augmentation.cutout.count=2: cutout is not enabled; enable it with augmentation=cutout, or in a list: augmentation=[flip,cutout]"),
    ("train", "seed=0,1", "seed=0,1: several values make a sweep, add -m; a list is written seed=[0,1]"),
    ("train", "hydra.sweep.dir=x", "hydra.sweep.dir=x: only with -m; a run has hydra.run.dir"),
    ("train", "-m seed=0,1 hydra.run.dir=x", "hydra.run.dir=x: only without -m; a sweep has hydra.sweep.dir"),
    ("train", "hydra.run.dir=x/${hydra:nope}", "hydra.run.dir=x/${hydra:nope}: Hydra has no value hydra:nope; --cfg hydra shows those it has"),
    ("train", "dataset=digits ensemble.members=2 ensemble.augmentations=[[flip],3]", "ensemble.augmentations: a list of lists of names such as [[flip],[flip,cutout]] is expected"),
    ("train", "help", "help: cannot be read as FIELD=VALUE or GROUP=CHOICE; see --help"),
    ("train", "=", "=: cannot be read as FIELD=VALUE or GROUP=CHOICE; see --help"),
    ("train", "--lr 0.1", "unrecognized arguments: --lr; fields are written FIELD=VALUE, without dashes; see --help"),
    ("train", "--epochs=3", "unrecognized arguments: --epochs=3; write epochs=3; see --help"),
    ("train", "hydra.run=foo", f"hydra.run=foo: {HYDRAS_OWN}"),
    ("train", "hydra.mode=3", f"hydra.mode=3: {HYDRAS_OWN}"),
    ("train", "hydra.searchpath=null", f"hydra.searchpath=null: {HYDRAS_OWN}"),
    ("train", "hydra.job.env_copy=[A]", f"hydra.job.env_copy=[A]: {HYDRAS_OWN}"),
    ("train", "hydra.job.num=abc", f"hydra.job.num=abc: {HYDRAS_OWN}"),
    ("train", "-m hydra.launcher._target_=nope", f"hydra.launcher._target_=nope: {HYDRAS_OWN}"),
    ("train", "seed=${hydra:run.dir}", "seed=${hydra:run.dir}: Hydra's own values, ${hydra:...}, can be used in its own fields alone"),
    ("train", "hydra/launcher=null", "hydra/launcher=null: the name of a plugin is expected"),
    ("train", "-m hydra.sweeper.max_batch_size=-1", "hydra.sweeper.max_batch_size=-1: only with hydra/sweeper=NAME, a plugin that is installed"),
    ("train", "hydra.run.dir=[a]", "hydra.run.dir=[a]: a folder is expected"),
    ("train", "hydra.run.dir=", "hydra.run.dir=: a folder is expected"),
    ("train", "-m hydra.run.dir=a,b", "hydra.run.dir=a,b: one value is expected, FIELD=VALUE"),
    ("train", "hydra.run.dir=~nosuchuser/x", "hydra.run.dir=~nosuchuser/x: there is no such user; write the whole path, hydra.run.dir=PATH"),
    ("train", "resume=~nosuchuser/x", "resume=~nosuchuser/x: there is no such user; write the whole path, resume=PATH"),
    ("evaluate", "ckpt=" + 300 * "x", f"ckpt={300 * 'x'}: xxxxxxxxxxxxxxxxxxxx... is longer than 255 bytes, the longest name"),
    ("evaluate", "ckpt=a(1)=[b]", "ckpt=a(1)=[b]: there is no such file or folder"),
    ("train", "experiment=a(1)", "experiment=a(1): cannot be read as FIELD=VALUE or GROUP=CHOICE; quote the value: 'experiment=\"a(1)\"'"),
    ("train", "dataset=digits augmentation.flip={probability:0.3}", "augmentation.flip={probability:0.3}: flip is not enabled; enable it with augmentation=flip, or in a list: augmentation=[cutout,flip]"),
    ("train", "schedule=step schedule.step.milestones=[99999999999999999999]", "schedule.step.milestones=1e+20: allowed is more than 0 and less than 1"),
    ("train", "model.resolution=1e300", "model.resolution=1e+300: allowed is more than 0 and at most 1000000"),
    ("train", "runtime.threads=100000", f"runtime.threads=100000: allowed is at most {os.cpu_count()}, this machine's cores"),
    ("train", "ensemble.members=1000000000", "ensemble.members=1000000000: allowed is at least 1 and at most 1000"),
    ("train", "training.eval_batch_size=100000000", "training.eval_batch_size=100000000: allowed is at least 1 and at most 65536"),
    ("train", "augmentation=cutout augmentation.cutout.count=1000000000", "augmentation.cutout.count=1000000000: allowed is at least 1 and at most 1000"),
    ("train", "schedule.four_phases.warmup_epochs=100000000000000000000", "schedule.four_phases.warmup_epochs=100000000000000000000: allowed is at least 0 and at most 1000000"),
    ("train", "dataset.folds=9223372036854775807 dataset.without_fold=0", "dataset.folds=9223372036854775807: allowed is at least 2 and at most 1000000"),
    ("train", "-m hydra.launcher=foo seed=0,1", f"hydra.launcher=foo: {HYDRAS_OWN}"),
    ("train", "hydra.run.dir=null", "hydra.run.dir=null: a folder is expected"),
    ("train", "hydra.rn.dir=x", f"hydra.rn.dir=x: {HYDRAS_OWN}"),
    ("train", "hydra.run.dir=FILE/run", "hydra.run.dir=FILE/run: FILE cannot be written (Not a directory); choose another with hydra.run.dir=FOLDER"),
    ("train", "-m hydra.sweep.dir=FILE/sweep seed=0,1", "hydra.sweep.dir=FILE/sweep: FILE cannot be written (Not a directory); choose another with hydra.sweep.dir=FOLDER"),
    ("train", "-m seed=interval(0,3)", "seed=interval(0,3): values are listed, FIELD=VALUE,VALUE or range(FROM,TO); more needs hydra/sweeper=NAME"),
    ("train", "-m seed=range(0,1e9)", "--multirun: a sweep has at most 10000 jobs, this one has more"),
    ("train", "-m model=range(0,1e9)", "model=range(0,1e9): choices are listed, model=NAME,NAME"),
    ("train", "-m seed=range(3,0)", "seed=range(3,0): there are no values in it"),
    ("train", "-m seed=shuffle(1,2)", "seed=shuffle(1,2): a sweep runs its jobs in the order in which they are typed"),
    ("train", f"training.epochs={5000 * '9'}", f"training.epochs={5000 * '9'}: cannot be read as FIELD=VALUE or GROUP=CHOICE; quote the value: 'training.epochs=\"{5000 * '9'}\"'"),
    ("train", "-m model=glob(*)", "model=glob(*): values are listed, model=VALUE,VALUE"),
    ("train", "-m hydra.sweeper.params={seed:1}", "hydra.sweeper.params={seed:1}: a sweep is written FIELD=VALUE,VALUE"),
    ("train", "dataset=cifar10 dataset.cache_dir=FILE/cache", "dataset.cache_dir=FILE/cache: a file is where this folder should be"),
    ("train", "optimizer=sgd", NO_DATASET),
    ("train", "seed=1 schedule.max_lr=0.01", NO_DATASET),
    ("train", "experiment=custom", NO_DATASET),
    ("train", "-m experiment=quickstart,custom", NO_DATASET),
    ("train", "dataset=digits optimizer.sgd.momentum=0.5", "optimizer.sgd.momentum=0.5: only with optimizer=sgd, here it is adam"),
    ("train", "dataset=digits schedule.warmup_fraction=0.1", "schedule.warmup_fraction=0.1: has no effect: schedule=constant has no warm-up; allowed is 0"),
    ("evaluate", "ckpt=null", "ckpt=null: a path is expected, or a list of run folders such as [A,B]"),
    ("evaluate", "ckpt=0", "ckpt=0: there is no such file or folder"),
    ("train", "resume=absent", "resume=absent: there is no such folder; a run folder is expected"),
    ("train", "repeat=absent", "repeat=absent: there is no such folder; a run folder is expected"),
    ("train", "start=absent", "start=absent: there is no such folder; a run folder is expected"),
    ("train", "resume=a repeat=b", "repeat=b: cannot be combined with resume=a"),
    ("train", "start=a resume=b", "start=a: cannot be combined with resume=b"),
    ("train", "start=a repeat=b", "start=a: cannot be combined with repeat=b"),
    ("evaluate", "", "ckpt: a value is missing; write ckpt=RUN_FOLDER (or a checkpoint, or a file of weights)"),
    ("evaluate", "ckpt=", "ckpt=: a path is expected"),
    ("train", "dataset=cifar10 dataset.root=", "dataset.root=: a path is expected"),
    ("evaluate", "ckpt=absent", "ckpt=absent: there is no such file or folder"),
    ("evaluate", "ckpt=FILE", "ckpt=FILE: allowed are run folders and files that end in .safetensors, .pth, .pt, .bin"),
    ("evaluate", "optimizer=adam", "optimizer: there is no such field; allowed are adjust, auroc, baseline, ckpt, dataset, deterministic, ensemble, group_by, images, model, open, plots, reference, runtime, seed, split, test_prior, training, view_weights, views"),
]  # fmt: skip


@pytest.fixture
def type_without_torch(tmp_path):
    """Run a command in an empty folder, in a process in which importing torch fails."""
    cwd, blocker = tmp_path / "cwd", tmp_path / "blocker"
    cwd.mkdir()
    blocker.mkdir()
    for heavy in ("torch", "timm", "torchmetrics", "torchvision", "sklearn", "matplotlib"):
        (blocker / f"{heavy}.py").write_text(f"import os; os.write(2, b'{heavy} was imported'); os._exit(99)")

    def run(program, *words):
        return subprocess.run(
            [sys.executable, ROOT / f"{program}.py", *words],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(blocker)},
            capture_output=True,
            text=True,
        )

    return run


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(("program", "words", "line"), MISTAKES, ids=[f"{name} {words}" for name, words, _ in MISTAKES])
def test_a_mistake_gives_a_one_line_error_before_torch_is_imported(type_without_torch, tmp_path, program, words, line):
    file = tmp_path / "FILE"
    file.touch()
    answer = type_without_torch(program, *words.replace("FILE", str(file)).split())
    assert answer.stderr == f"{program}.py: {line.replace('FILE', str(file))}\n"
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert list((tmp_path / "cwd").iterdir()) == []


def save_images(root, **classes):
    """root/train/CLASS/0.png ... and root/test/CLASS/0.png for {"train": [...], "test": [...]}."""
    for split, names in classes.items():
        for name in names:
            (root / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (8, 8), (number, 0, 0)).save(root / split / name / f"{number}.png")


def folder_words(root):
    return [
        "dataset=image_folder",
        f"dataset.root={root}",
        f"dataset.cache_dir={root.parent / 'cache'}",
        "model.name=test_efficientnet",
        "runtime=cpu",
    ]


def error_of(typed, tmp_path, *words):
    """The error, without the program's name, of a mistake that is found with data and model."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    answer = typed(cwd, "train", *words)
    assert answer.code == 2
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert list(cwd.iterdir()) == []
    assert not (tmp_path / "cache").exists()
    return answer.err.removeprefix("train.py: ").rstrip("\n")


def test_a_batch_larger_than_the_data(typed, tmp_path, tiny_words):
    line = error_of(typed, tmp_path, *tiny_words, "training.batch_size=5000")
    assert line == "training.batch_size=5000: there are only 464 training images, allowed is 2 to 464"


def test_a_padding_as_large_as_the_image(typed, tmp_path, tiny_words):
    line = error_of(typed, tmp_path, *tiny_words, "augmentation=pad_crop", "augmentation.pad_crop.padding=16")
    assert line == (
        "augmentation.pad_crop.padding=16: must be smaller than the side of the images, which are 16 x 16 pixels"
    )


def test_a_model_that_timm_does_not_have(typed, tmp_path, tiny_words):
    line = error_of(typed, tmp_path, *tiny_words, "model.name=test_eficientnet")
    assert line == "model.name=test_eficientnet: timm has no such model (did you mean test_efficientnet?)"


def test_no_test_images(typed, tmp_path):
    root = tmp_path / "images"
    save_images(root, train=["cat", "dog"])
    line = error_of(typed, tmp_path, *folder_words(root))
    assert line == f"dataset.root={root}: it has no folder test/ (test/CLASS/IMAGE is expected)"


def test_a_truncated_image(typed, tmp_path):
    root = tmp_path / "images"
    save_images(root, train=["cat", "dog"], test=["cat"])
    broken = root / "train" / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    line = error_of(typed, tmp_path, *folder_words(root))
    assert line.startswith(f"dataset.root: cannot read {broken}: ")


def test_a_test_class_that_is_not_in_train(typed, tmp_path):
    root = tmp_path / "images"
    save_images(root, train=["cat", "dog"], test=["cat", "dogs"])
    line = error_of(typed, tmp_path, *folder_words(root))
    assert line == f"dataset.root={root}: class dogs of the test images is not in train (did you mean dog?)"


def test_an_existing_folder_is_kept(typed, tmp_path, tiny_words):
    (tmp_path / "mine").mkdir()
    assert typed(tmp_path, "train", *tiny_words, "training.batch_size=5000", "hydra.run.dir=mine/a/b").code == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


# Hydra's flags, of which each program has all: what is refused, with the reason; None if it answers.
FLAGS = [
    ("--help", None),
    ("--hydra-help", None),
    ("--version", None),
    ("--info", None),
    ("--info searchpath", None),
    ("--info nope", "argument --info/-i: invalid choice: 'nope' (choose from 'all', 'config', 'defaults', 'defaults-tree', 'plugins', 'searchpath'); see --help"),
    ("--info config hydra.mode=3", f"hydra.mode=3: {HYDRAS_OWN}"),
    ("--cfg job", None),
    ("--cfg hydra", None),
    ("--cfg all --resolve", None),
    ("--cfg job --package model", None),
    ("--cfg job --package nope", "--package=nope: there is no such part of the configuration"),
    ("--cfg job -m", "--cfg --multirun: only one of these flags is possible"),
    ("--resolve", "--resolve: only with --cfg"),
    ("--package model", "--package: only with --cfg"),
    ("--shell-completion install=bash", None),
    ("--shell-completion", "--shell-completion: one of install=SHELL, uninstall=SHELL, query=SHELL is expected"),
    ("-sc x", "--shell-completion: one of install=SHELL, uninstall=SHELL, query=SHELL is expected"),
    ("--config-path x", "--config-path: the configuration is that of conf/; --config-dir=FOLDER adds another"),
    ("--config-name x", "Cannot find primary config 'x'. Check that it's in your config search path."),
    ("--config-dir x", "--config-dir=x: there is no such folder"),
    ("--experimental-rerun x", "--experimental-rerun: it unpickles a file, which could run any code; use repeat=RUN"),
]  # fmt: skip
PROGRAMS = {
    "train": "train.py",
    "evaluate": "evaluate.py",
    "benchmark": "cifar_imbalance.benchmark",
    "figures": "cifar_imbalance.figures",
    "search": "cifar_imbalance.search",
    "preflight": "cifar_imbalance.preflight",
}


SLOW = ("--help", "--hydra-help", "--info", "--info searchpath")  # Hydra looks for plugins: two programs are enough
FLAGS_OF_PROGRAMS = [
    (program, words, line)
    for program in PROGRAMS
    for words, line in FLAGS
    if words not in SLOW or program in ("train", "figures")
]


@pytest.mark.parametrize(("program", "words", "line"), FLAGS_OF_PROGRAMS)
def test_every_program_answers_every_flag_of_hydra_or_refuses_it_in_one_line(typed, tmp_path, program, words, line):
    if program == "figures" and words == "--cfg job --package model":
        words = "--cfg job --package dataset"
    answer = typed(tmp_path, program, *words.split())
    if line is None:
        assert (answer.code, answer.err) == (0, "")
        assert answer.out
    else:
        assert (answer.code, answer.out, answer.err) == (2, "", f"{PROGRAMS[program]}: {line}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("output=", "output=: a folder is expected"),
        ("-m seed=0,1 hydra.sweep.subdir=a", "hydra.sweep.subdir=a: several jobs have this folder"),
    ],
)
def test_figures_have_a_folder_of_their_own(typed, tmp_path, words, line):
    answer = typed(tmp_path, "figures", *words.split())
    assert (answer.code, answer.out, answer.err) == (2, "", f"cifar_imbalance.figures: {line}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_of_figures(typed, tmp_path):
    answer = typed(tmp_path, "figures", "-m", "seed=0,1", "output=out")
    assert (answer.code, answer.err) == (0, "")
    assert [path.parent.name for path in sorted(tmp_path.rglob("samples.png"))] == ["job_1", "job_2"]


# ---------------------------------------------------------------- failures that are not mistakes
def test_a_full_disk_is_not_reported_as_invalid_input(typed, tmp_path, tiny_words, monkeypatch):
    from cifar_imbalance.engine import experiment

    def full(*_):
        raise OSError(28, "No space left on device", "run/config.yaml")

    monkeypatch.setattr(experiment, "run_experiment", full)
    answer = typed(tmp_path, "train", *tiny_words)
    assert (answer.code, answer.err) == (1, "train.py: run/config.yaml: No space left on device\n")


def test_a_folder_that_is_deleted_while_training_ends_the_run_in_one_line(typed, tmp_path, tiny_words, monkeypatch):
    from cifar_imbalance.engine.loop import Loop

    train_epoch = Loop.train_epoch

    def deleted(loop, *arguments):
        shutil.rmtree(loop.folder.path)
        return train_epoch(loop, *arguments)

    monkeypatch.setattr(Loop, "train_epoch", deleted)
    answer = typed(tmp_path, "train", *tiny_words, "hydra.run.dir=run")
    assert answer.code == 1
    assert answer.err == f"train.py: {tmp_path / 'run' / 'recalls.csv'}: No such file or directory\n"


def test_without_a_home_folder_what_needs_no_cache_runs(typed, tmp_path, tiny_words, monkeypatch):
    from cifar_imbalance.engine import experiment

    def homeless(path):
        if path.parts[:1] == ("~",):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.setattr(experiment, "run_experiment", lambda config, folder, _: folder)
    assert typed(tmp_path, "train", *tiny_words).code == 0
    answer = typed(tmp_path, "train", "dataset=cifar10")
    line = "dataset.cache_dir=~/.cache/cifar_imbalance: there is no home folder here; write the whole path, dataset.cache_dir=PATH"
    assert (answer.code, answer.err) == (2, f"train.py: {line}\n")


def test_a_bug_gives_a_traceback(typed, tmp_path, tiny_words, monkeypatch):
    from cifar_imbalance.engine import experiment

    monkeypatch.setattr(experiment, "run_experiment", lambda *_: {}["defect"])
    with pytest.raises(KeyError, match="defect"):
        typed(tmp_path, "train", *tiny_words)


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "hydra":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("program", ["train.py", "evaluate.py"])
def test_an_interruption_while_modules_are_imported_prints_no_trace(tmp_path, program):
    answer = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, str(ROOT / program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        check=False,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (-signal.SIGINT, "", "")


def test_hydras_log_into_a_closed_pipe_prints_no_trace(tmp_path):
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'train.py'))} --info all | head -1"
    answer = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in answer.stderr


def test_a_run_interrupted_by_many_signals_prints_the_command_to_resume_it_and_nothing_else(tmp_path, tiny_words):
    command = [sys.executable, ROOT / "train.py", *tiny_words, "training.epochs=1000", "hydra.run.dir=run"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background makes them, and so their children, ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "run" / "checkpoints" / "last.pt").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)  # so that the first signals arrive together
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        process.send_signal(number)
    while process.poll() is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        time.sleep(0.002)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert len(err.splitlines()) == 1
    assert err.startswith("train.py: interrupted")
    assert f"python train.py resume={tmp_path / 'run'}" in out + err


# ---------------------------------------------------------------- help and configurations
@pytest.mark.parametrize(
    ("program", "groups"),
    [
        ("train", GROUPS),
        ("evaluate", {"adjust", "dataset", "model", "runtime"}),
    ],
)
def test_help_lists_every_group_with_its_choices(type_without_torch, program, groups):
    answer = type_without_torch(program, "--help")
    assert answer.returncode == 0
    lines = answer.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    listed = " ".join(answer.stdout.replace(",", " ").split())
    for group in groups:
        choices = sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
        inside = [f"{path.parent.name}/{path.stem}" for path in sorted((ROOT / "conf" / group).glob("*/*.yaml"))]
        assert f" {group} {' '.join([*choices, *inside])} " in listed


def test_help_lists_every_field_with_its_value_and_what_is_allowed(type_without_torch):
    answer = type_without_torch("train", "--help", "experiment=exp2", "training.epochs=7")
    listed = answer.stdout.partition("and what is allowed:\n\n")[2].splitlines()
    assert "  epochs: 7  # at least 1" in listed
    assert "  together: null  # workers, one_by_one, stacked" in listed
    assert "  dpi: 200  # at least 50 and at most 600" in listed
    assert "  betas:  # at least 0 and less than 1" in [line[2:] for line in listed]
    names = {line.partition(":")[0].strip() for line in listed}
    missing = [path for path in field_paths(TrainConfig) if path.rpartition(".")[2] not in names]
    assert all(path.startswith("augmentation.") for path in missing)  # in blocks that are null


def test_cfg_job_prints_the_configuration_and_runs_nothing(type_without_torch, tmp_path):
    answer = type_without_torch("train", "experiment=exp2", "training.epochs=7", "--cfg", "job")
    assert answer.returncode == 0
    assert "  name: cifar100\n" in answer.stdout
    assert "  epochs: 7\n" in answer.stdout
    assert list((tmp_path / "cwd").iterdir()) == []


def test_a_closed_output_pipe_is_not_an_error(tmp_path):
    line = f"{sys.executable} {ROOT / 'train.py'} --help | head -1"
    answer = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert answer.stderr == ""


@pytest.mark.parametrize(
    ("words", "experiment"),
    [
        ([], "quickstart"),
        (["seed=1", "runtime=cpu", "runtime.threads=1", "training.epochs=3", "hydra.run.dir=run"], "quickstart"),
        (["-m", "seed=1,2"], "quickstart"),
        (["dataset=digits"], "custom"),
        (["seed=1", "dataset=digits", "schedule=cosine"], "custom"),
        (["experiment=exp2", "dataset=digits"], "exp2"),
    ],
)
def test_the_quickstart_is_the_default_only_without_other_overrides(typed, tmp_path, monkeypatch, words, experiment):
    from cifar_imbalance.engine import experiment as engine

    started = []
    monkeypatch.setattr(engine, "run_experiment", lambda config, *_: started.append(config))
    answer = typed(tmp_path, "train", *words)
    assert answer.code == 0, answer.err
    assert {config.experiment for config in started} == {experiment}
    assert all(config.dataset.name == "digits" for config in started)
    assert all((config.training.epochs == 10) == (experiment != "quickstart") for config in started)


def test_overrides_are_in_the_runs_configuration(tiny_run):
    text = (tiny_run / "config.yaml").read_text()
    assert "name: test_efficientnet" in text
    assert "epochs: 2" in text
    assert json.loads((tiny_run / "report" / "summary.json").read_text())["experiment"] == "quickstart"
