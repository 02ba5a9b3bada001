"""resume= and ckpt= use a run's own config.yaml; evaluate.py reproduces the results of training."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import save_file

from cifar_imbalance.configuration import installed
from cifar_imbalance.configuration.fields import Optimizer, Sgd
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runs.stored import sealed_yaml

METRICS_OF_ITS_OWN = {"accuracy", "macro_f1", "macro_recall", "macro_precision", "worst_decile_recall"}
ABOUT_THE_RUN = {
    *(
        "checksum",
        "predictions_sha256",
        "history_sha256",
        "uncertainty",
        "experiment",
        "weights",
        "train_images",
        "epochs",
        "test_set_use",
    ),
    *("chosen_by", "ckpt"),
}


def summary(folder):
    return json.loads((folder / "report" / "summary.json").read_text())


def results(folder):
    return {name: value for name, value in summary(folder).items() if name not in ABOUT_THE_RUN}


def evaluation(cwd, typed, *words):
    answer = typed(cwd, "evaluate", *words, f"hydra.run.dir={cwd / 'evaluation'}", "runtime=cpu")
    assert answer.code == 0, answer.err
    return cwd / "evaluation"


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def stored(run):
    return RunFolder(run).read_config()


def logits(run):
    return Predictions.load(run / "predictions" / "test.npz").logits


def rewritten(run, **values):
    """`run`, with other `values` in its config.yaml."""
    (run / "config.yaml").write_text(sealed_yaml(replace(stored(run), **values)))
    return run


@pytest.fixture(scope="module")
def bfloat16_run(tmp_path_factory, typed, tiny_words):
    """The folder of a finished tiny run in bfloat16. Read or copy it, do not change it."""
    folder = tmp_path_factory.mktemp("bfloat16") / "run"
    answer = typed(folder.parent, "train", *tiny_words, "runtime.precision=bfloat16", f"hydra.run.dir={folder}")
    assert answer.code == 0, answer.err
    return folder


def state_dict(run):
    return torch.load(run / "checkpoints" / "best.pt", weights_only=True)["model"]


def assert_rejected(answer, line):
    assert (answer.code, answer.out, answer.err) == (2, "", line + "\n")


# ---------------------------------------------------------------- evaluate
def test_evaluating_a_run_reproduces_the_results_of_training(tiny_run, tmp_path, typed):
    evaluated = evaluation(tmp_path, typed, f"ckpt={tiny_run}")
    assert results(evaluated) == results(tiny_run)
    assert results(evaluated).keys() >= METRICS_OF_ITS_OWN


def test_an_evaluation_is_written_into_the_run_folder_by_default(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = contents(run)
    assert typed(tmp_path, "evaluate", "ckpt=run", "split=validation").code == 0
    assert before.items() <= contents(run).items()
    (evaluated,) = (run / "evaluations").iterdir()
    assert evaluated.name.startswith("validation_")
    assert (evaluated / "predictions" / "validation.npz").is_file()


def test_an_evaluation_never_overwrites_a_run(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = contents(run)
    answer = typed(tmp_path, "evaluate", "ckpt=run", "hydra.run.dir=run", "runtime=cpu")
    assert answer.code == 0, answer.err
    assert contents(run) == before
    assert results(tmp_path / "run_2") == results(tiny_run)


def test_a_checkpoint_outside_its_run_is_evaluated_only_on_its_own_classes(tiny_run, tmp_path, typed):
    shutil.copy(tiny_run / "checkpoints" / "best.pt", tmp_path / "moved.pt")
    model = ["ckpt=moved.pt", "model.name=test_efficientnet", "dataset.image_size=16"]
    evaluated = evaluation(tmp_path, typed, *model, "dataset=digits")
    assert summary(evaluated)["accuracy"] == summary(tiny_run)["accuracy"]
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / "tree" / split / name).mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(tmp_path / "tree" / split / name / "0.png")
    other = ["dataset=image_folder", "dataset.root=tree", "dataset.cache_dir=cache", "dataset.validation=none"]
    answer = typed(tmp_path, "evaluate", *model, *other)
    line = "evaluate.py: ckpt=moved.pt: it was trained on other classes (0, 1, 2, 3, 4, ...)"
    assert_rejected(answer, line)


def test_a_moved_run_is_evaluated_at_its_new_place(tiny_run, tmp_path, typed):
    shutil.move(shutil.copytree(tiny_run, tmp_path / "run"), tmp_path / "elsewhere")
    assert results(evaluation(tmp_path, typed, "ckpt=elsewhere")) == results(tiny_run)


def test_a_checkpoint_determines_the_evaluated_epoch(tiny_run, tmp_path, typed):
    evaluated = evaluation(tmp_path, typed, f"ckpt={tiny_run}/checkpoints/last.pt")
    assert summary(evaluated)["chosen_epoch"] == 2
    assert summary(evaluated)["chosen_by"] == "the checkpoint that was named"


def test_a_file_of_the_same_weights_gives_the_same_accuracy(tiny_run, tmp_path, typed):
    save_file(state_dict(tiny_run), tmp_path / "weights.safetensors")
    words = ["dataset=digits", "dataset.image_size=16", "model.name=test_efficientnet"]
    evaluated = evaluation(tmp_path, typed, "ckpt=weights.safetensors", *words)
    for name in METRICS_OF_ITS_OWN:
        assert summary(evaluated)[name] == summary(tiny_run)[name]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("model=lite0", "model.name is test_efficientnet in the run and tf_efficientnet_lite0.in1k here"),
        ("dataset.image_size=32", "dataset.image_size is 16 in the run and 32 here"),
        ("seed=5", "seed is 0 in the run and 5 here"),
    ],
)
def test_overrides_that_contradict_the_run_are_rejected(tiny_run, tmp_path, typed, word, line):
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", word)
    assert_rejected(answer, f"evaluate.py: ckpt={tiny_run}: {line}; the run keeps its own")


def test_choosing_a_runtime_for_an_evaluation_changes_only_the_fields_of_its_file(bfloat16_run, tmp_path, typed):
    evaluated = evaluation(tmp_path, typed, f"ckpt={bfloat16_run}")  # and runtime=cpu
    assert OmegaConf.load(evaluated / "config.yaml").runtime.precision == "bfloat16"
    assert results(evaluated) == results(bfloat16_run)


def test_combine_is_rejected_for_one_model(tiny_run, tmp_path, typed):
    answer = typed(tmp_path, "evaluate", f"ckpt={tiny_run}", "ensemble.combine=mean_probability")
    line = (
        "ensemble.combine=mean_probability: has no effect: only one model is evaluated; combine several with ckpt=[A,B]"
    )
    assert_rejected(answer, f"evaluate.py: {line}")


def test_a_truncated_checkpoint_is_rejected(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    whole = (run / "checkpoints" / "best.pt").read_bytes()
    (run / "checkpoints" / "best.pt").unlink()
    (run / "checkpoints" / "best.pt").write_bytes(whole[: len(whole) // 2])
    answer = typed(tmp_path, "evaluate", "ckpt=run")
    line = "evaluate.py: run/checkpoints/best.pt: is not a complete checkpoint of a run (RuntimeError)"
    assert_rejected(answer, line)
    assert not (run / "evaluations").exists()


def test_a_checkpoint_of_another_model_is_rejected(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    rewritten(run, model=replace(stored(run).model, name="test_byobnet"))
    line = "evaluate.py: ckpt: the checkpoint is of test_efficientnet, not of model.name=test_byobnet"
    assert_rejected(typed(tmp_path, "evaluate", "ckpt=run"), line)


def test_a_file_that_is_not_a_state_dict_is_rejected(tmp_path, typed):
    (tmp_path / "foreign.pt").write_bytes(b"not a checkpoint")
    answer = typed(tmp_path, "evaluate", "ckpt=foreign.pt", "model.name=test_efficientnet", "dataset=digits")
    assert answer.code == 2
    assert answer.err.startswith("evaluate.py: ckpt=foreign.pt: ")
    assert len(answer.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.pt"]


def test_a_file_of_weights_needs_a_model(tmp_path, typed):
    (tmp_path / "weights.pt").touch()
    answer = typed(tmp_path, "evaluate", "ckpt=weights.pt", "dataset=digits")
    line = "evaluate.py: ckpt=weights.pt: a file of weights does not contain its model; add model=NAME"
    assert_rejected(answer, line)


# ---------------------------------------------------------------- resume
@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("training.batch_size=32", "training.batch_size is 64 in the run and 32 here"),
        ("optimizer=sgd", "optimizer.name is adamw in the run and sgd here"),
        ("schedule=constant", "schedule.name is cosine in the run and constant here"),
        ("optimizer.adamw.betas=[0.8,0.9]", "optimizer.adamw.betas is [0.9, 0.999] in the run and [0.8, 0.9] here"),
        ("experiment=exp2", "experiment is quickstart in the run and exp2 here"),
        ("runtime.precision=bfloat16", "runtime.precision is float32 in the run and bfloat16 here"),
        ("augmentation=cutout", "augmentation.cutout.count is null in the run and 1 here"),
        ("seed=1", "seed is 0 in the run and 1 here"),
    ],
)
def test_overrides_that_change_a_resumed_run_are_rejected(tiny_run, tmp_path, typed, word, line):
    before = contents(tiny_run)
    answer = typed(tmp_path, "train", f"resume={tiny_run}", word)
    assert_rejected(answer, f"train.py: resume={tiny_run}: {line}; the run keeps its own")
    assert contents(tiny_run) == before


def unfinished(run, copy):
    """A copy of a finished run as it was before its report was written."""
    shutil.copytree(run, copy)
    (copy / "report" / "summary.json").unlink()
    return copy


def test_a_finished_run_is_left_as_it_is(tiny_run, typed, tmp_path):
    before = contents(tiny_run)
    answer = typed(tmp_path, "train", f"resume={tiny_run}")
    assert (answer.code, answer.out) == (0, f"{tiny_run} is finished; nothing was done\n")
    assert contents(tiny_run) == before


def test_a_tracker_of_a_finished_run_is_named_with_the_command_that_sends_it(tiny_run, typed, tmp_path, monkeypatch):
    monkeypatch.setattr(installed, "find_spec", lambda name: object())
    before = contents(tiny_run)
    said = f"{tiny_run} is finished; nothing was done; to send it to"
    command = f"python -m cifar_imbalance.track ckpt={tiny_run}"
    answer = typed(tmp_path, "train", f"resume={tiny_run}", "logger=wandb")
    assert (answer.code, answer.out) == (0, f"{said} wandb: {command} logger=wandb\n")
    answer = typed(tmp_path, "train", f"resume={tiny_run}", "logger=[wandb,mlflow]")
    assert (answer.code, answer.out) == (0, f"{said} wandb, mlflow: {command} 'logger=[wandb,mlflow]'\n")
    assert contents(tiny_run) == before


def test_a_run_may_be_resumed_elsewhere(tiny_run, tmp_path, typed):
    run = unfinished(tiny_run, tmp_path / "run")
    words = ["runtime.threads=2", "training.batch_size=64", "dataset.cache_dir=cache"]
    answer = typed(tmp_path, "train", "resume=run", *words)
    assert answer.code == 0, answer.err
    assert results(run) == results(tiny_run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_choosing_a_runtime_for_a_resumed_run_changes_only_the_fields_of_its_file(
    bfloat16_run, tmp_path, typed, started
):
    for words in (["runtime=cpu"], ["runtime=cuda"], ["optimizer=adamw"], ["experiment=quickstart"]):
        assert typed(tmp_path, "train", f"resume={bfloat16_run}", *words).code == 0
    assert [config.runtime.name for config, _ in started] == ["cpu", "cuda", "cpu", "cpu"]
    assert {config.runtime.precision for config, _ in started} == {"bfloat16"}
    assert {folder for _, folder in started} == {bfloat16_run}


def test_a_run_is_not_resumed_in_another_folder(tiny_run, tmp_path, typed):
    answer = typed(tmp_path, "train", f"resume={tiny_run}", "hydra.run.dir=elsewhere")
    line = f"train.py: hydra.run.dir: a resumed run writes into its own folder, which is {tiny_run}"
    assert_rejected(answer, line)
    assert list(tmp_path.iterdir()) == []


def test_partial_files_of_a_killed_process_are_removed_on_resume(tiny_run, tmp_path, typed):
    run = unfinished(tiny_run, tmp_path / "run")
    names = (".config.yaml.x.part", "checkpoints/.last.pt.x.part", "checkpoints/.best.pt.part")
    partial = [run / name for name in names]
    for file in partial:
        file.touch()
    with RunFolder(run).held():
        assert all(file.exists() for file in partial)  # they may belong to a run that finds the folder claimed
    assert typed(tmp_path, "train", "resume=run").code == 0
    assert not any(file.exists() for file in partial)


def test_a_run_that_another_process_trains_is_not_resumed(tiny_run, tmp_path, typed):
    run = unfinished(tiny_run, tmp_path / "run")
    before = contents(run)
    with RunFolder(run).held():
        answer = typed(tmp_path, "train", "resume=run")
    assert (answer.code, answer.err) == (2, "train.py: resume=run: another process is training in it\n")
    assert contents(run) == before


def test_a_run_without_a_checkpoint_cannot_be_resumed(tiny_run, tmp_path, typed):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "checkpoints" / "last.pt").unlink()
    line = "train.py: resume=run: no checkpoint was written (checkpoints/last.pt); start a new run"
    assert_rejected(typed(tmp_path, "train", "resume=run"), line)


def test_a_folder_that_is_not_a_run_cannot_be_resumed(tmp_path, typed):
    line = "train.py: resume=.: this is not a run folder (there is no config.yaml in it)"
    assert_rejected(typed(tmp_path, "train", "resume=."), line)


def test_two_runs_never_share_a_folder(tiny_run, tmp_path, typed, tiny_words):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = contents(run)
    assert typed(tmp_path, "train", *tiny_words, "seed=3", "training.epochs=1", "hydra.run.dir=run").code == 0
    assert contents(run) == before
    assert "seed: 3" in (tmp_path / "run_2" / "config.yaml").read_text()


# ---------------------------------------------------------------- repeat
def test_a_repeated_run_has_the_configuration_and_the_logits_of_the_first(tiny_run, tmp_path, typed):
    before = contents(tiny_run)
    answer = typed(tmp_path, "train", f"repeat={tiny_run}", "hydra.run.dir=again")
    assert answer.code == 0, answer.err
    assert (tmp_path / "again" / "config.yaml").read_text() == (tiny_run / "config.yaml").read_text()
    assert np.array_equal(logits(tmp_path / "again"), logits(tiny_run))
    assert contents(tiny_run) == before


def test_a_repeated_run_differs_only_by_its_overrides(tiny_run, tmp_path, typed, started):
    config = stored(tiny_run)
    for words, expected in {
        ("seed=3",): replace(config, seed=3),
        ("experiment=quickstart", "training.epochs=3"): replace(config, training=replace(config.training, epochs=3)),
        ("runtime=cuda",): replace(config, runtime=replace(config.runtime, name="cuda")),
        ("optimizer=sgd", "optimizer.sgd.momentum=0.5"): replace(
            config,
            optimizer=replace(config.optimizer, name="sgd", sgd=Sgd(momentum=0.5), adamw=None),
        ),
        ("augmentation=none",): replace(config, augmentation=replace(config.augmentation, shift=None)),
    }.items():
        answer = typed(tmp_path, "train", f"repeat={tiny_run}", *words)
        assert answer.code == 0, answer.err
        assert started.pop()[0] == expected


def test_the_settings_of_an_overridden_choice_are_dropped(tiny_run, tmp_path, typed, started):
    optimizer = Optimizer(name="sgd", sgd=Sgd(momentum=0.5), adam=None, adamw=None)
    rewritten(shutil.copytree(tiny_run, tmp_path / "run"), optimizer=optimizer)
    assert typed(tmp_path, "train", "repeat=run").code == 0
    assert started.pop()[0].optimizer == optimizer
    assert typed(tmp_path, "train", "repeat=run", "optimizer=adam").code == 0
    assert started.pop()[0].optimizer == replace(Optimizer(name="adam"), sgd=None, adamw=None)
    line = "train.py: optimizer.sgd.momentum=0.9: only with optimizer=sgd, here it is adam"
    assert_rejected(typed(tmp_path, "train", "repeat=run", "optimizer=adam", "optimizer.sgd.momentum=0.9"), line)


def test_a_repeated_run_is_named_by_the_experiment_and_the_seed_of_the_first(tiny_run, tmp_path, typed, started):
    run = rewritten(shutil.copytree(tiny_run, tmp_path / "run"), seed=7)
    for words, seed in (([], 7), (["seed=3"], 3)):
        assert typed(tmp_path, "train", f"repeat={run}", *words).code == 0
        folder = started.pop()[1]
        assert folder.parent.name == "quickstart" and folder.name.endswith(f"_{seed}")


def test_a_repeated_run_may_enable_an_operator_and_change_its_settings(tiny_run, tmp_path, typed, started):
    words = ["augmentation=[flip,cutout]", "augmentation.cutout.count=2"]
    assert typed(tmp_path, "train", f"repeat={tiny_run}", *words).code == 0
    ((config, _),) = started
    assert (config.augmentation.cutout.count, config.augmentation.flip.probability) == (2, 0.5)
    assert config.augmentation.shift is None  # the quickstart's, which the list leaves out


def test_what_has_no_effect_any_more_in_a_repeated_run_is_reset(tiny_run, tmp_path, typed, started):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    rewritten(run, dataset=replace(stored(run).dataset, holdout_fraction=0.2))
    assert typed(tmp_path, "train", "repeat=run", "dataset.validation=test").code == 0
    ((config, _),) = started
    assert (config.dataset.validation, config.dataset.holdout_fraction) == ("test", 0.1)


def test_an_unfinished_run_can_be_repeated(tiny_run, tmp_path, typed, started):
    (tmp_path / "run").mkdir()
    shutil.copy(tiny_run / "config.yaml", tmp_path / "run")
    assert typed(tmp_path, "train", "repeat=run").code == 0
    assert started.pop()[0] == stored(tiny_run)


def test_threads_that_were_free_are_part_of_the_run_from_then_on(tmp_path, typed, tiny_words, monkeypatch, request):
    monkeypatch.setattr("cifar_imbalance.runtimes.native.free_cores", lambda: 1)
    words = [word for word in tiny_words if not word.startswith("runtime.threads")]
    assert typed(tmp_path, "train", *words, "training.epochs=1", "hydra.run.dir=run").code == 0
    run = tmp_path / "run"
    assert stored(run).runtime.threads == json.loads((run / "environment.json").read_text())["threads"] == 1
    monkeypatch.setattr("cifar_imbalance.runtimes.native.free_cores", lambda: 2)
    started = request.getfixturevalue("started")
    for word in (f"resume={run}", f"repeat={run}", f"start={run}"):
        assert typed(tmp_path, "train", word).code == 0
    rewritten(run, runtime=replace(stored(run).runtime, threads=10**6))  # made on a larger machine
    assert typed(tmp_path, "train", f"repeat={run}").code == 0
    assert [config.runtime.threads for config, _ in started] == [1, 1, 1, None]


@pytest.mark.parametrize("how", ["repeat", "start"])
def test_a_run_cannot_be_repeated_as_another_experiment(tiny_run, tmp_path, typed, how):
    answer = typed(tmp_path, "train", f"{how}={tiny_run}", "experiment=exp2")
    line = f"train.py: {how}={tiny_run}: experiment is quickstart in the run and exp2 here; the run keeps its own"
    assert_rejected(answer, line)


# ---------------------------------------------------------------- start
def digest(run):
    return hashlib.sha256((run / "checkpoints" / "best.pt").read_bytes()).hexdigest()


def test_a_run_started_from_another_records_the_origin_of_its_weights(tiny_run, tmp_path, typed, started):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    answer = typed(tmp_path, "train", "start=run", "schedule.max_lr=0.001", "seed=4")
    assert answer.code == 0, answer.err
    config, folder = started.pop()
    schedule = replace(stored(run).schedule, max_lr=0.001)
    assert config == replace(stored(run), seed=4, schedule=schedule, start=str(run), start_sha256=digest(run))
    assert folder.parent.name == "quickstart" and folder.name.endswith("_4")


def test_the_weights_are_the_parents_whatever_their_own_origin(tiny_run, tmp_path, typed, started):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    rewritten(
        run, model=replace(stored(run).model, pretrained=True), start="elsewhere", start_sha256="0", fresh_head=True
    )
    assert typed(tmp_path, "train", "start=run").code == 0
    config, _ = started.pop()
    assert (config.model.pretrained, config.start, config.start_sha256) == (False, str(run), digest(run))
    assert config.fresh_head is False
    assert typed(tmp_path, "train", "start=run", "fresh_head=true").code == 0
    assert started.pop()[0].fresh_head is True


def test_the_parents_checkpoint_is_the_reported_one(tiny_run, tmp_path, typed, started):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    rewritten(run, checkpoint=replace(stored(run).checkpoint, choose="last"))
    (run / "checkpoints" / "last.pt").write_bytes(b"another")
    assert typed(tmp_path, "train", "start=run").code == 0
    assert started.pop()[0].start_sha256 == hashlib.sha256(b"another").hexdigest()


def test_a_started_run_begins_with_the_reported_weights_and_where_asked_a_fresh_head(tiny_run, tmp_path, typed):
    """At a rate that moves nothing, what it ends with is what it began with."""
    words = [f"start={tiny_run}", "schedule.max_lr=1e-30", "training.epochs=1", "optimizer.weight_decay=0"]
    for name, fresh in (("kept", "false"), ("fresh", "true")):
        answer = typed(tmp_path, "train", *words, f"fresh_head={fresh}", f"hydra.run.dir={name}")
        assert answer.code == 0, answer.err
    parent, kept, fresh = (state_dict(run) for run in (tiny_run, tmp_path / "kept", tmp_path / "fresh"))
    learned = [name for name in parent if "running_" not in name and "num_batches" not in name]
    assert all(torch.equal(parent[name], kept[name]) for name in learned)
    changed = [name for name in learned if not torch.equal(parent[name], fresh[name])]
    assert changed == ["classifier.weight", "classifier.bias"]
    assert summary(tmp_path / "kept")["start"] == str(tiny_run)


def test_each_member_starts_from_one_of_an_ensemble(tiny_run, tmp_path, typed, started):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    rewritten(run, ensemble=replace(stored(run).ensemble, members=2))
    for member in "01":
        copy = shutil.copytree(tiny_run, run / "members" / member)
        (copy / "checkpoints" / "best.pt").write_bytes(member.encode())
    assert typed(tmp_path, "train", "start=run").code == 0
    digests = "".join(hashlib.sha256(member).hexdigest() for member in (b"0", b"1"))
    assert started.pop()[0].start_sha256 == hashlib.sha256(digests.encode()).hexdigest()
    line = f"train.py: ensemble.members=3: start={run} has 2 members, each of which starts one member"
    assert_rejected(typed(tmp_path, "train", "start=run", "ensemble.members=3"), line)
    (run / "members" / "1" / "report" / "summary.json").unlink()
    line = f"train.py: start={run}: it is not finished (report/summary.json, checkpoints/)"
    assert_rejected(typed(tmp_path, "train", "start=run"), line)


def test_one_model_starts_every_member(tiny_run, tmp_path, typed, started):
    answer = typed(tmp_path, "train", f"start={tiny_run}", "ensemble.members=2")
    assert answer.code == 0, answer.err
    assert (started[0][0].ensemble.members, started[0][0].start_sha256) == (2, digest(tiny_run))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("model.name=no_such_model", "start={run}: model.name is test_efficientnet there and no_such_model here"),
        ("model=lite0", "start={run}: model.name is test_efficientnet there and tf_efficientnet_lite0.in1k here"),
        ("model.weights=w.pt", "model.weights=w.pt: the weights are those of start={run}; leave it out"),
        ("model.pretrained=true", "model.pretrained=True: the weights are those of start={run}; leave it out"),
        ("resume={run}", "start={run}: cannot be combined with resume={run}"),
        ("repeat={run}", "start={run}: cannot be combined with repeat={run}"),
    ],
)
def test_overrides_that_contradict_the_parent_are_rejected(tiny_run, tmp_path, typed, words, line):
    answer = typed(tmp_path, "train", f"start={tiny_run}", words.format(run=tiny_run))
    assert_rejected(answer, f"train.py: {line.format(run=tiny_run)}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("absent", ["report/summary.json", "checkpoints/best.pt"])
def test_an_unfinished_run_cannot_be_a_parent(tiny_run, tmp_path, typed, absent):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / absent).unlink()
    line = f"train.py: start={run}: it is not finished (report/summary.json, checkpoints/)"
    assert_rejected(typed(tmp_path, "train", "start=run"), line)


def test_a_run_whose_parent_has_changed_cannot_be_repeated(tiny_run, tmp_path, typed, started):
    parent = shutil.copytree(tiny_run, tmp_path / "parent")
    (tmp_path / "child").mkdir()
    shutil.copy(tiny_run / "config.yaml", tmp_path / "child")
    child = rewritten(tmp_path / "child", start=str(parent), start_sha256=digest(parent))
    assert typed(tmp_path, "train", "repeat=child").code == 0
    assert started.pop()[0] == stored(child)
    (parent / "checkpoints" / "best.pt").write_bytes(b"another")
    line = f"train.py: start={parent}: its checkpoint is not the one that the repeated run started from (start_sha256)"
    assert_rejected(typed(tmp_path, "train", "repeat=child"), line)


def test_a_part_of_a_run_is_not_a_run_and_the_run_is_named(tmp_path, typed, tiny_run):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    shutil.copytree(tiny_run, run / "evaluations" / "test_1")
    for place, line in {
        "evaluations": f"ckpt={run}/evaluations: is a part of a run; write ckpt={run}",
        "checkpoints": f"ckpt={run}/checkpoints: this is not a run folder (there is no config.yaml in it)",
    }.items():
        answer = typed(tmp_path, "evaluate", f"ckpt={run}/{place}")
        assert (answer.code, answer.err) == (2, f"evaluate.py: {line}\n")
