"""A run's own config.yaml is what resume= and ckpt= go by; evaluate.py gives the figures that training wrote."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cifar_imbalance.runs.folder import RunFolder

METRICS_OF_ITS_OWN = {"accuracy", "macro_f1", "macro_recall", "macro_precision", "worst_decile_recall"}
ABOUT_THE_RUN = {"experiment", "weights", "train_images", "epochs", "test_set_use", "chosen_by", "ckpt"}


def summary(folder):
    return json.loads((folder / "report" / "summary.json").read_text())


def figures(folder):
    return {name: value for name, value in summary(folder).items() if name not in ABOUT_THE_RUN}


def evaluation(cwd, typed, *words):
    answer = typed(cwd, "evaluate", *words, f"hydra.run.dir={cwd / 'judged'}", "runtime=cpu")
    assert answer.code == 0, answer.err
    return cwd / "judged"


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def state_dict(run):
    return torch.load(run / "checkpoints" / "best.pt", weights_only=True)["model"]


def assert_refused(answer, line):
    assert (answer.code, answer.out, answer.err) == (2, "", line + "\n")


# ---------------------------------------------------------------- evaluate
def test_evaluating_a_run_gives_exactly_the_figures_that_training_wrote(tiny_run, tmp_path, typed):
    judged = evaluation(tmp_path, typed, f"ckpt={tiny_run}")
    assert figures(judged) == figures(tiny_run)
    assert figures(judged).keys() >= METRICS_OF_ITS_OWN


def test_without_a_folder_of_its_own_an_evaluation_goes_into_the_run(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = contents(run)
    assert typed(tmp_path, "evaluate", "ckpt=run", "split=validation").code == 0
    assert before.items() <= contents(run).items()
    (judged,) = (run / "evaluations").iterdir()
    assert judged.name.startswith("validation_")
    assert (judged / "predictions" / "validation.npz").is_file()


def test_an_evaluation_never_overwrites_a_run(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = contents(run)
    answer = typed(tmp_path, "evaluate", "ckpt=run", "hydra.run.dir=run", "runtime=cpu")
    assert answer.code == 0, answer.err
    assert contents(run) == before
    assert figures(tmp_path / "run_2") == figures(tiny_run)


def test_a_checkpoint_outside_its_run_is_judged_on_its_own_classes_alone(tiny_run, tmp_path, typed):
    shutil.copy(tiny_run / "checkpoints" / "best.pt", tmp_path / "moved.pt")
    model = ["ckpt=moved.pt", "model.name=test_efficientnet", "dataset.image_size=16"]
    judged = evaluation(tmp_path, typed, *model, "dataset=digits")
    assert summary(judged)["accuracy"] == summary(tiny_run)["accuracy"]
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / "tree" / split / name).mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(tmp_path / "tree" / split / name / "0.png")
    other = ["dataset=image_folder", "dataset.root=tree", "dataset.cache_dir=cache", "dataset.validation=none"]
    answer = typed(tmp_path, "evaluate", *model, *other)
    line = "evaluate.py: ckpt=moved.pt: it was trained on other classes (0, 1, 2, 3, 4, ...)"
    assert_refused(answer, line)


def test_a_run_that_was_moved_is_evaluated_from_where_it_is(tiny_run, tmp_path, typed):
    shutil.move(shutil.copytree(tiny_run, tmp_path / "run"), tmp_path / "elsewhere")
    assert figures(evaluation(tmp_path, typed, "ckpt=elsewhere")) == figures(tiny_run)


def test_a_checkpoint_is_the_epoch_that_is_judged(tiny_run, tmp_path, typed):
    judged = evaluation(tmp_path, typed, f"ckpt={tiny_run}/checkpoints/last.pt")
    assert summary(judged)["chosen_epoch"] == 2
    assert summary(judged)["chosen_by"] == "the checkpoint that was named"


def test_a_file_of_the_same_weights_gives_the_same_accuracy(tiny_run, tmp_path, typed):
    save_file(state_dict(tiny_run), tmp_path / "weights.safetensors")
    words = ["dataset=digits", "dataset.image_size=16", "model.name=test_efficientnet"]
    judged = evaluation(tmp_path, typed, "ckpt=weights.safetensors", *words)
    for name in METRICS_OF_ITS_OWN:
        assert summary(judged)[name] == summary(tiny_run)[name]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("model=lite0", "model.name is test_efficientnet in the run and tf_efficientnet_lite0.in1k here"),
        ("dataset.image_size=32", "dataset.image_size is 16 in the run and 32 here"),
        ("seed=5", "seed is 0 in the run and 5 here"),
    ],
)
def test_what_contradicts_the_run_is_refused(tiny_run, tmp_path, typed, word, line):
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", word)
    assert_refused(answer, f"evaluate.py: ckpt={tiny_run}: {line}; the run keeps its own")


def test_a_truncated_checkpoint_is_refused(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    whole = (run / "checkpoints" / "best.pt").read_bytes()
    (run / "checkpoints" / "best.pt").unlink()
    (run / "checkpoints" / "best.pt").write_bytes(whole[: len(whole) // 2])
    answer = typed(tmp_path, "evaluate", "ckpt=run")
    line = "evaluate.py: run/checkpoints/best.pt: is not a whole checkpoint of a run (RuntimeError)"
    assert_refused(answer, line)
    assert not (run / "evaluations").exists()


def test_a_checkpoint_of_another_model_is_refused(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("test_efficientnet", "test_byobnet"))
    line = "evaluate.py: ckpt: the checkpoint is of test_efficientnet, not of model.name=test_byobnet"
    assert_refused(typed(tmp_path, "evaluate", "ckpt=run"), line)


def test_a_file_that_is_no_state_dict_is_refused(tmp_path, typed):
    (tmp_path / "foreign.pt").write_bytes(b"not a checkpoint")
    answer = typed(tmp_path, "evaluate", "ckpt=foreign.pt", "model.name=test_efficientnet", "dataset=digits")
    assert answer.code == 2
    assert answer.err.startswith("evaluate.py: ckpt=foreign.pt: ")
    assert len(answer.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.pt"]


def test_a_file_of_weights_does_not_say_its_model(tmp_path, typed):
    (tmp_path / "weights.pt").touch()
    answer = typed(tmp_path, "evaluate", "ckpt=weights.pt", "dataset=digits")
    line = "evaluate.py: ckpt=weights.pt: a file of weights does not say its model; write model=NAME too"
    assert_refused(answer, line)


# ---------------------------------------------------------------- resume
@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("training.batch_size=32", "training.batch_size is 64 in the run and 32 here"),
        ("optimizer=sgd", "optimizer.decay_norm_and_bias is False in the run and True here"),
        ("augmentation=cutout", "augmentation.cutout.count is null in the run and 1 here"),
        ("seed=1", "seed is 0 in the run and 1 here"),
    ],
)
def test_a_difference_that_matters_is_refused(tiny_run, tmp_path, typed, word, line):
    before = contents(tiny_run)
    answer = typed(tmp_path, "train", f"resume={tiny_run}", word)
    assert_refused(answer, f"train.py: resume={tiny_run}: {line}; the run keeps its own")
    assert contents(tiny_run) == before


def test_where_a_run_goes_on_may_differ(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    words = ["runtime.threads=2", "training.batch_size=64", "dataset.cache_dir=cache"]
    answer = typed(tmp_path, "train", "resume=run", *words)
    assert answer.code == 0, answer.err
    assert figures(run) == figures(tiny_run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_a_killed_process_left_half_written_goes_when_the_run_goes_on(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    remains = [run / ".config.yaml.x.part", run / "checkpoints" / ".last.pt.x.part"]
    for file in remains:
        file.touch()
    with RunFolder(run).held():
        assert all(file.exists() for file in remains)  # they may be those of a run that finds the folder taken
    assert typed(tmp_path, "train", "resume=run").code == 0
    assert not any(file.exists() for file in remains)


def test_a_run_in_which_another_process_trains_is_left_alone(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = contents(run)
    with RunFolder(run).held():
        answer = typed(tmp_path, "train", "resume=run")
    assert (answer.code, answer.err) == (2, "train.py: resume=run: another process is training in it\n")
    assert contents(run) == before


def test_a_run_without_a_checkpoint_cannot_go_on(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "checkpoints" / "last.pt").unlink()
    line = "train.py: resume=run: no checkpoint was written (checkpoints/last.pt); start it anew"
    assert_refused(typed(tmp_path, "train", "resume=run"), line)


def test_a_folder_that_is_no_run_cannot_go_on(tmp_path, typed):
    line = "train.py: resume=.: this is not a run folder (there is no config.yaml in it)"
    assert_refused(typed(tmp_path, "train", "resume=."), line)


def test_two_runs_in_one_folder_do_not_share_it(tiny_run, tmp_path, typed, tiny_words):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = contents(run)
    assert typed(tmp_path, "train", *tiny_words, "seed=3", "training.epochs=1", "hydra.run.dir=run").code == 0
    assert contents(run) == before
    assert "seed: 3" in (tmp_path / "run_2" / "config.yaml").read_text()
