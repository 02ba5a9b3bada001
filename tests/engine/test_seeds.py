"""Runs of many seeds against runs of many seeds: python evaluate.py ckpt=SWEEP reference=SWEEP."""

import csv
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory, typed, tiny_words):
    """Seeds 0 to 2 of cross-entropy and 1 to 3 of focal loss."""
    folder = tmp_path_factory.mktemp("seeds")
    for loss, seeds in (("cross_entropy", "0,1,2"), ("focal", "1,2,3")):
        words = ["-m", *tiny_words, "training.epochs=1", f"loss={loss}", f"seed={seeds}", f"hydra.sweep.dir={loss}"]
        answer = typed(folder, "train", *words)
        assert answer.code == 0, answer.err
    return folder


def run_of(sweeps, loss, seed):
    (found,) = (sweeps / loss).glob(f"*_quickstart_{seed}")
    return found


def logits_of(sweeps, loss, seed):
    return Predictions.load(run_of(sweeps, loss, seed) / "predictions" / "test.npz")


def rows(file):
    return list(csv.DictReader(file.read_text().splitlines()))


@pytest.fixture(scope="module")
def report(sweeps, tmp_path_factory, typed):
    cwd = tmp_path_factory.mktemp("report")
    answer = typed(cwd, "evaluate", f"ckpt={sweeps}/focal", f"reference={sweeps}/cross_entropy", "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    return cwd / "out" / "report", answer.out


def test_metrics_are_paired_by_the_seeds_that_both_have(report, sweeps):
    folder, out = report
    table = {row["metric"]: row for row in rows(folder / "side_by_side_metrics.csv")}
    assert list(table) == ["accuracy", "macro_f1", "worst_decile_recall", "worst_recall", "hard_decile_recall"]
    for name in ("accuracy", "macro_f1", "worst_decile_recall"):
        theirs, ours = (
            [summarize(logits_of(sweeps, loss, seed))[name] for seed in (1, 2)] for loss in ("cross_entropy", "focal")
        )
        interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
        row = table[name]
        assert (row["n_reference"], row["n_run"], row["paired"]) == ("2", "2", "yes")
        assert float(row["difference"]) == pytest.approx(np.mean(ours) - np.mean(theirs), abs=1e-5)
        assert float(row["reference_sd"]) == pytest.approx(np.std(theirs, ddof=1), rel=1e-4)
        assert [float(row["low"]), float(row["high"])] == pytest.approx([interval.low, interval.high], rel=1e-4)
    assert "Paired by the seeds that both have: 1, 2; n = 2." in out
    assert "- loss.name: cross_entropy in the reference, focal in the runs" in out


def test_every_class_has_its_mean_difference_and_adjusted_p(report, sweeps):
    folder, _ = report
    table = rows(folder / "side_by_side.csv")
    recalls = {
        loss: np.array([class_metrics(logits_of(sweeps, loss, seed)).recall for seed in (1, 2)])
        for loss in ("cross_entropy", "focal")
    }
    difference = recalls["focal"].mean(axis=0) - recalls["cross_entropy"].mean(axis=0)
    assert [float(row["recall_difference"]) for row in table] == pytest.approx(difference, abs=1e-5)
    p = np.array([float(row["p"]) for row in table])
    adjusted = stats.false_discovery_control(p)
    assert [float(row["adjusted_p"]) for row in table] == pytest.approx(adjusted, rel=1e-4)
    assert [row["verdict"] != "" for row in table] == (adjusted <= 0.05).tolist()


def test_there_is_a_page_and_a_plot(report):
    folder, out = report
    names = {path.name for path in folder.iterdir() if path.suffix != ".pdf"}
    files = {"side_by_side.txt", "side_by_side.csv", "side_by_side.png", "side_by_side_metrics.csv", "report.html"}
    assert names == files
    page = (folder / "report.html").read_text()
    assert "<h1>focal compared with cross_entropy</h1>" in page
    assert "They differ in loss.name: cross_entropy in the reference, focal in the runs; " in page
    for title in ("How to repeat it", "Configuration that all runs share", "Environment that all runs share"):
        assert f"<summary>{title}</summary>" in page
    cells = re.findall(r"<td>(.*?)</td>", page.partition("In what the runs differ")[2])
    assert cells[: cells.index("loss.name") + 3][-3:] == ["loss.name", "cross_entropy", "focal"]
    assert "python train.py repeat=" in page and "python evaluate.py ckpt=" in page
    assert not (folder.parent / "predictions").exists()
    assert (folder / "side_by_side.txt").read_text() in out


def test_without_seeds_in_common_all_runs_are_compared_by_welchs_test(sweeps, tmp_path, typed):
    for name, loss, seeds in (("a", "cross_entropy", (0, 1, 2)), ("b", "focal", (2, 3))):
        for seed in seeds:
            run = run_of(sweeps, loss, seed)
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / run.name).symlink_to(run)
    answer = typed(tmp_path, "evaluate", "ckpt=b", "reference=a", "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    assert (
        "Not paired, since fewer than two seeds are in both: reference 0, 1, 2 (n = 3), runs 2, 3 (n = 2)."
        in answer.out
    )
    row = rows(tmp_path / "out" / "report" / "side_by_side_metrics.csv")[0]
    theirs = [summarize(logits_of(sweeps, "cross_entropy", seed))["accuracy"] for seed in (0, 1, 2)]
    ours = [summarize(logits_of(sweeps, "focal", seed))["accuracy"] for seed in (2, 3)]
    interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert (row["n_reference"], row["n_run"], row["paired"]) == ("3", "2", "no")
    assert [float(row["low"]), float(row["high"])] == pytest.approx([interval.low, interval.high], rel=1e-4)


@pytest.fixture
def folders(sweeps, tmp_path):
    """Folders of runs that cannot be compared: one run, two experiments' runs, two losses', a seed twice."""
    runs = {loss: [run_of(sweeps, loss, seed) for seed in (1, 2)] for loss in ("cross_entropy", "focal")}
    contents = {
        "one": runs["focal"][:1],
        "two": runs["focal"],
        "mixed": [runs["cross_entropy"][0], runs["focal"][1]],
        "twice": [runs["focal"][0], runs["focal"][1], runs["focal"][1]],
    }
    for name, of_folder in contents.items():
        (tmp_path / name).mkdir()
        for number, run in enumerate(of_folder):
            (tmp_path / name / f"{number}").symlink_to(run)
    for parent in ("a", "b"):
        (tmp_path / "parents" / parent).mkdir(parents=True)
        (tmp_path / "parents" / parent / "focal").symlink_to(runs["focal"][0])
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ckpt=one", "reference=two"], "ckpt=one: has one finished run, 0; the spread over seeds needs two at least"),
        (["ckpt=two", "reference=one"], "reference=one: has one finished run, 0; the spread over seeds needs two at"),
        (
            ["ckpt=mixed", "reference=two"],
            "ckpt=mixed: its runs differ in more than the seed: loss.name (cross_entropy in 0, focal in 1), ",
        ),
        (["ckpt=two", "reference=twice"], "reference=twice: seed 2 is in it twice, 1 and 2"),
        (["ckpt=two", "reference=two"], "reference=two: is ckpt itself; name another folder of runs"),
        (
            ["ckpt=two", "reference=two/0"],
            "reference=two/0: is one run, and ckpt=two is a folder of runs; name ",
        ),
        (
            ["ckpt=two", "reference=paper/exp2"],
            "reference=paper/exp2: is a table of the paper, and ckpt=two is a ",
        ),
        (
            ["ckpt=two", "reference=gone"],
            "reference=gone: is no folder that exists, and ckpt=two is a folder of ",
        ),
        (["ckpt=two", "reference=empty"], "reference=empty: is a folder without runs, and ckpt=two is a folder of "),
        (
            ["ckpt=parents", "reference=two"],
            "ckpt=parents: seed 1 is in it twice, a/focal and b/focal\n",
        ),
        (["ckpt=two/0", "reference=two"], "reference=two: is a folder of runs, and ckpt=two/0 is none; name one of "),
        (["ckpt=two"], "ckpt=two: is a folder of runs; add group_by=FIELD or reference=FOLDER"),
        (["ckpt=two", "reference=mixed", "views=flip"], "reference=mixed: its runs differ in more than the seed: "),
    ],
)
def test_what_cannot_be_compared_gives_a_one_line_error(folders, typed, words, line):
    before = sorted(folders.iterdir())
    answer = typed(folders, "evaluate", *words)
    assert answer.code == 2 and answer.err.startswith(f"evaluate.py: {line}") and answer.err.count("\n") == 1
    assert sorted(folders.iterdir()) == before


def test_fields_without_effect_are_refused(sweeps, tmp_path, typed):
    words = [f"ckpt={sweeps}/focal", f"reference={sweeps}/cross_entropy", "split=test"]
    allowed = "ckpt, reference, open, plots"
    line = f"split: has no effect on a comparison of folders of runs; allowed are {allowed}"
    answer = typed(tmp_path, "evaluate", *words)
    assert (answer.code, answer.err) == (2, f"evaluate.py: {line}\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda found: replace(found, hashes=found.hashes + np.uint64(1)), "it was evaluated on other images than "),
        (lambda found: replace(found, class_names=tuple("abcdefghij")), "its classes are not those of "),
    ],
)
def test_other_test_images_and_other_classes_are_refused(sweeps, tmp_path, typed, resealed, change, reason):
    shutil.copytree(sweeps / "focal", tmp_path / "other")
    (run,) = (tmp_path / "other").glob("*_quickstart_3")
    file = run / "predictions" / "test.npz"
    change(Predictions.load(file)).save(file)
    resealed(run)
    answer = typed(tmp_path, "evaluate", "ckpt=other", f"reference={sweeps}/cross_entropy", "hydra.run.dir=out")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert answer.err.startswith(f"evaluate.py: ckpt=other/{run.name}: {reason}ckpt=other/")
    assert not (tmp_path / "out").exists()


def test_runs_of_two_experiments_in_one_folder_are_named(sweeps, tmp_path, typed, tiny_words):
    (tmp_path / "runs").mkdir()
    run = run_of(sweeps, "focal", 1)
    (tmp_path / "runs" / "0").symlink_to(run)
    words = ["dataset=digits", "model=tiny", "training.epochs=1", "hydra.run.dir=runs/1", "runtime.threads=1"]
    assert typed(tmp_path, "train", "experiment=custom", "dataset.image_size=16", *words).code == 0
    answer = typed(tmp_path, "evaluate", "ckpt=runs", f"reference={sweeps}/focal")
    line = "ckpt=runs: has runs of 2 experiments (quickstart, custom); name a folder that has those of one, "
    assert answer.code == 2 and answer.err.startswith(f"evaluate.py: {line}") and answer.err.count("\n") == 1
