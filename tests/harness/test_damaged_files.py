"""Damaged and hostile files of a run: the answer is that without them, or a refusal in one line; never a trace."""

import json
import os
import random
import re
import shutil

import numpy as np
import pytest
import torch

from cifar_imbalance.engine import checkpoint, loop
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runs.stored import sealed_yaml

FILES = (
    "config.yaml",
    "data.json",
    "metrics.jsonl",
    "recalls.csv",
    "report/summary.json",
    "predictions/test.npz",
    "predictions/validation.npz",
    "checkpoints/last.pt",
    "checkpoints/best.pt",
)


# ---------------------------------------------------------------- damages
def removed(file, chance):
    file.unlink()


def emptied(file, chance):
    file.write_bytes(b"")


def halved(file, chance):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def not_utf8(file, chance):
    file.write_bytes(b"\xff\xfe" + file.read_bytes())


def not_parsed(file, chance):
    file.write_text('{"epoch": [1, "\n')


def another_shape(file, chance):
    file.write_text(chance.choice(["[]\n", "3\n", "null\n", '"text"\n', "{}\n", "[[1]]\n", '{"sha256": 3}\n']))


def too_deep(file, chance):
    file.write_text("[" * 100_000 + "]" * 100_000)


def a_long_number(file, chance):
    file.write_text('{"epoch": ' + 5000 * "7" + "}\n")


def a_digit_changed(file, chance):
    content = bytearray(file.read_bytes())
    places = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    place = chance.choice(places)
    content[place] = ord(str((int(chr(content[place])) + chance.randint(1, 9)) % 10))
    file.write_bytes(content)


def a_byte_changed(file, chance):
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def bytes_inserted(file, chance):
    content = file.read_bytes()
    place = chance.randrange(len(content))
    file.write_bytes(content[:place] + chance.randbytes(chance.choice([1, 100])) + content[place:])


def a_folder(file, chance):
    file.unlink()
    file.mkdir()


def a_pipe(file, chance):
    file.unlink()
    os.mkfifo(file)


DAMAGES = (
    removed, emptied, halved, not_utf8, not_parsed, another_shape, too_deep, a_long_number, a_digit_changed,
    a_byte_changed, bytes_inserted, a_folder, a_pipe,
)  # fmt: skip
COMMANDS = ("resume", "finish", "evaluate", "combine", "start", "ensemble")


def cases(rounds):
    """(command, file, damage, seed): all of them, the random damages `rounds` times."""
    random_ones = (a_digit_changed, a_byte_changed, bytes_inserted, another_shape)
    return [
        (command, file, damage, seed)
        for command in COMMANDS
        for file in FILES
        for damage in DAMAGES
        for seed in range(rounds if damage in random_ones else 1)
    ]


# ---------------------------------------------------------------- commands
@pytest.fixture(scope="module")
def without_plots():
    """Reports without plots; what is drawn of the members' histories is kept as a file."""

    def keep(path, histories):
        lines = [[{k: v for k, v in line.items() if "second" not in k} for line in h] for h in histories.values()]
        path.with_name("curves.json").write_text(json.dumps(lines))

    with pytest.MonkeyPatch.context() as patch:
        names = ("confusion_plot", "per_class_plot", "gallery_plot", "curves_plot", "learning_rate_plot")
        for name in (*names, "recall_by_epoch_plot"):
            patch.setattr(f"cifar_imbalance.report.write.{name}", lambda *_, **__: None)
        patch.setattr("cifar_imbalance.report.ensemble.ensemble_plot", lambda *_, **__: None)
        patch.setattr("cifar_imbalance.report.ensemble.member_curves_plot", keep)
        yield


@pytest.fixture(scope="module")
def second_run(tmp_path_factory, typed, tiny_words):
    folder = tmp_path_factory.mktemp("second") / "other"
    answer = typed(folder.parent, "train", *tiny_words, "seed=1", "dataset.split_seed=0", f"hydra.run.dir={folder}")
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture(scope="module")
def interrupted_run(tmp_path_factory, typed, tiny_words):
    """A run that was interrupted in the second of its two epochs."""
    folder, plan = tmp_path_factory.mktemp("interrupted") / "run", loop.plan_epoch

    def interrupting(config, epoch, **rest):
        if epoch == 1:
            raise KeyboardInterrupt
        return plan(config, epoch, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "plan_epoch", interrupting)
        answer = typed(folder.parent, "train", *tiny_words, f"hydra.run.dir={folder}")
    assert answer.code == 130, answer.err
    return folder


@pytest.fixture(scope="module")
def small_ensemble(tmp_path_factory, typed, tiny_words):
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    words = [*tiny_words, "ensemble.members=2", "ensemble.workers=1"]
    answer = typed(folder.parent, "train", *words, f"hydra.run.dir={folder}")
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture
def ask(typed, tmp_path, tiny_run, second_run, interrupted_run, small_ensemble, without_plots):
    """ask(command, damage=None): the answer to a command about a run, and its result, None if there is none."""

    def asked(command, damage=lambda run: None):
        shutil.rmtree(tmp_path / command, ignore_errors=True)
        original = {"finish": interrupted_run, "ensemble": small_ensemble}.get(command, tiny_run)
        run = shutil.copytree(original, tmp_path / command / "run")
        if command in ("resume", "ensemble"):
            shutil.rmtree(run / "report")
            (run / "report").mkdir()
        damage(run / "members" / "0" if command == "ensemble" else run)
        words = {
            "resume": ["train", f"resume={run}"],
            "finish": ["train", f"resume={run}"],
            "ensemble": ["train", f"resume={run}"],
            "evaluate": ["evaluate", f"ckpt={run}", "runtime=cpu", "hydra.run.dir=out"],
            "combine": ["evaluate", f"ckpt=[{second_run},{run}]", "ensemble.combine=weighted", "hydra.run.dir=out"],
            "start": ["train", f"start={run}", "training.epochs=1", "seed=5", "hydra.run.dir=out"],
        }[command]
        answer = typed(run.parent, *words)
        report = (run if words[1].startswith("resume") else run.parent / "out") / "report"
        if answer.code != 0 or not (report / "summary.json").is_file():
            return answer, None
        result = json.loads((report / "summary.json").read_text())
        if (report / "curves.json").is_file():
            result["curves"] = json.loads((report / "curves.json").read_text())
        if "chosen_by" in result and " so far: the run is not finished" in answer.out:  # which is told
            result["chosen_by"] = result["chosen_by"].removesuffix(" so far: the run is not finished")
        return answer, {name: value for name, value in result.items() if not without_meaning(name)}

    return asked


def without_meaning(name):
    return name in ("checksum", "ckpt", "start", "wall_seconds")


@pytest.fixture(scope="module")
def undamaged():
    """The results of the commands, kept for all cases."""
    return {}


def check_case(ask, undamaged, command, file, damage, seed):
    if command not in undamaged:
        undamaged[command] = ask(command)[1]
        assert undamaged[command] is not None

    def apply(run):
        if (run / file).exists():
            damage(run / file, random.Random(f"{command} {file} {damage.__name__} {seed}"))

    answer, result = ask(command, apply)
    if answer.code == 0:
        assert result == undamaged[command], (command, file, damage.__name__, seed)
    else:
        program = "evaluate.py" if command in ("evaluate", "combine") else "train.py"
        assert answer.code in (1, 2)
        assert re.fullmatch(rf"{re.escape(program)}: [^\n\x00-\x1f]*\n", answer.err), answer.err


SHORT = [case for number, case in enumerate(cases(1)) if number % 43 == 3]


@pytest.mark.parametrize(("command", "file", "damage", "seed"), SHORT)
def test_a_damaged_file_is_refused_in_one_line_or_changes_nothing(ask, undamaged, command, file, damage, seed):
    check_case(ask, undamaged, command, file, damage, seed)


@pytest.mark.slow
def test_many_damaged_files(ask, undamaged):
    wrong = []
    for case in cases(3):
        try:
            check_case(ask, undamaged, *case)
        except Exception as error:
            wrong.append((case[0], case[1], case[2].__name__, case[3], repr(error)[-300:]))
    assert not wrong, "\n".join(map(str, wrong))


# ---------------------------------------------------------------- a stranger's run
def test_a_configuration_with_interpolations_is_refused_and_reads_no_environment(
    tiny_run, tmp_path, typed, monkeypatch
):
    monkeypatch.setenv("SECRET", "s3cr3t")
    run = shutil.copytree(tiny_run, tmp_path / "run")
    config = RunFolder(run).read_config()
    config.experiment = "${oc.env:SECRET}"
    (run / "config.yaml").write_text(sealed_yaml(config))
    answer = typed(tmp_path, "train", "resume=run")
    assert answer.code == 2
    assert answer.err == (
        "train.py: run/config.yaml: it is damaged or not a file of a run (it contains ${...}: a run's own "
        "configuration has plain values alone)\n"
    )
    assert not any("s3cr3t" in path.read_text(errors="replace") for path in run.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["train.log", "checkpoints", "metrics.jsonl", "predictions/test.npz"])
def test_nothing_is_written_through_a_link_in_a_run(tiny_run, tmp_path, typed, name):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "report" / "summary.json").unlink()
    shutil.move(run / name, tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    answer = typed(tmp_path, "train", "resume=run")
    line = f"train.py: resume=run: run/{name} is a link; a run writes into its own folder alone\n"
    assert (answer.code, answer.err) == (2, line)


def test_no_evaluation_is_written_through_a_link_in_a_run(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (run / "evaluations").symlink_to(tmp_path / "elsewhere")
    answer = typed(tmp_path, "evaluate", "ckpt=run", "runtime=cpu")
    line = "evaluate.py: ckpt=run: evaluations is a link; an evaluation is written into the run's own folder\n"
    assert (answer.code, answer.err) == (2, line)
    assert list((tmp_path / "elsewhere").iterdir()) == []


HOSTILE = {
    "a key is missing": lambda state: state.pop("controller"),
    "a type is another": lambda state: state.update(class_names=3),
    "a name is not text": lambda state: state.update(class_names=[3] * 10),
    "sparse": lambda state: state["model"].update(x=torch.zeros(3).to_sparse()),
    "without data": lambda state: state["model"].update(x=torch.zeros(10**12, device="meta")),
    "one value repeated": lambda state: state["model"].update(x=torch.zeros(1).expand(10**12)),
    "a tensor of another shape": lambda state: state["model"].update(
        {name: torch.zeros(1) for name in list(state["model"])[:1]}
    ),
    "an optimiser of more parameters": lambda state: state["optimizer"].update({10**6: {"step": torch.zeros(1)}}),
    "a list for a dictionary": lambda state: state.update(optimizer=[]),
    "a name for a tensor": lambda state: state["model"].update(x="text"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_rightly_signed_checkpoint_of_another_content_is_refused(tiny_run, tmp_path, typed, kind):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "report" / "summary.json").unlink()
    state = checkpoint.load(run / "checkpoints" / "last.pt")
    HOSTILE[kind](state)
    with pytest.MonkeyPatch.context() as patch:  # a digest that the stranger computes would need the memory, too
        if kind in ("without data", "one value repeated", "sparse"):
            patch.setattr(checkpoint, "digest", lambda state: "0")
        checkpoint.save(run / "checkpoints" / "last.pt", state)
    answer = typed(tmp_path, "train", "resume=run")
    assert answer.code == 2
    assert re.fullmatch(r"train\.py: run/checkpoints/last\.pt: [^\n]*\n", answer.err), answer.err


def test_weights_that_contain_themselves_are_refused(tmp_path, typed):
    weights = {}
    weights["state_dict"] = weights
    torch.save(weights, tmp_path / "w.pt")
    answer = typed(tmp_path, "evaluate", "ckpt=w.pt", "model=tiny", "dataset=digits")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)


def test_weights_in_a_pipe_are_refused(tmp_path, typed):
    os.mkfifo(tmp_path / "w.pt")
    answer = typed(tmp_path, "evaluate", "ckpt=w.pt", "model=tiny", "dataset=digits")
    assert answer.code == 2
    assert answer.err.startswith("evaluate.py: ckpt=w.pt: allowed are run folders and files that end in")


def test_weights_that_are_not_finite_are_not_reported(tiny_run, tmp_path, typed):
    state = checkpoint.load(tiny_run / "checkpoints" / "best.pt")["model"]
    torch.save(
        {name: value * float("nan") for name, value in state.items() if value.is_floating_point()}, tmp_path / "w.pt"
    )
    words = ["ckpt=w.pt", "model=tiny", "dataset=digits", "dataset.image_size=16", "runtime=cpu"]
    answer = typed(tmp_path, "evaluate", *words)
    line = "evaluate.py: the logits of 535 of 535 images are not finite, so there is nothing to report\n"
    assert (answer.code, answer.err) == (1, line)


def test_an_archive_that_promises_more_than_it_has_is_refused(tiny_run, tmp_path, typed, resealed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    file = run / "predictions" / "test.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    np.savez_compressed(file, **{**arrays, "logits": np.zeros((10**6, 10), np.float32)})
    resealed(run)
    answer = typed(tmp_path, "evaluate", f"ckpt=[{tiny_run},run]")
    assert answer.code == 2
    assert "logits.npy is compressed or longer than the file" in answer.err


def test_control_characters_in_names_do_not_reach_the_terminal(tiny_run, tmp_path, typed, resealed):
    runs = [shutil.copytree(tiny_run, tmp_path / name) for name in ("a", "b")]
    for run in runs:
        file = run / "predictions" / "test.npz"
        with np.load(file) as stored:
            arrays = dict(stored)
        arrays["class_names"] = np.array(["\x1b[2J\x07nine\n", *arrays["class_names"][1:]])
        np.savez(file, **arrays)
        resealed(run)
    answer = typed(tmp_path, "evaluate", "ckpt=[a,b]", "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    texts = [
        answer.out,
        *(path.read_text() for path in (tmp_path / "out").rglob("*") if path.suffix in (".txt", ".csv", ".log")),
    ]
    assert not any("\x1b" in text or "\x07" in text for text in texts)
    assert "\\x1b[2J\\x07nine\\n" in answer.out
