"""A folder of runs as a table: python evaluate.py ckpt=SWEEP group_by=FIELD."""

import csv
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cifar_imbalance.configuration.fields import Augmentation, Cutout, Flip
from cifar_imbalance.evidence.metrics import class_metrics, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.groups import grouped, shown_groups
from cifar_imbalance.runs.folder import RunFolder, claim

METHODS = ("cross_entropy", "focal")
SWEPT = ("loss=cross_entropy,focal", "seed=0,1")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, typed, tiny_words):
    """Two seeds of two losses, tested after each epoch; and a run that is not finished."""
    folder = tmp_path_factory.mktemp("grouping") / "sweep"
    words = ["-m", *SWEPT, *tiny_words, "dataset.validation=test", "checkpoint.choose=last"]
    answer = typed(folder.parent, "train", *words, f"hydra.sweep.dir={folder}")
    assert answer.code == 0, answer.err
    (folder.parent / "out").write_text(answer.out)
    return folder


@pytest.fixture(scope="module")
def report(sweep, tmp_path_factory, typed):
    cwd = tmp_path_factory.mktemp("report")
    answer = typed(cwd, "evaluate", f"ckpt={sweep}", "group_by=loss.name", "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    return cwd / "out" / "report", answer.out


def predictions(sweep, method):
    number = METHODS.index(method) * 2
    runs = [sweep / f"{number + 1 + seed}_quickstart_{seed}" for seed in (0, 1)]
    return [Predictions.load(run / "predictions" / "test.npz") for run in runs]


def rows(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def test_the_table_has_mean_and_sample_standard_deviation_of_each_group(report, sweep):
    folder, out = report
    table = {row["loss.name"]: row for row in rows(folder / "sweep.csv")}
    assert list(table) == list(METHODS)
    for method, row in table.items():
        values = [summarize(one)["macro_f1"] for one in predictions(sweep, method)]
        assert row["n"] == "2"
        assert float(row["macro_f1"]) == pytest.approx(np.mean(values), rel=1e-5)
        assert float(row["macro_f1_sd"]) == pytest.approx(np.std(values, ddof=1), rel=1e-4)
        recalls = np.mean([class_metrics(one).recall for one in predictions(sweep, method)], axis=0)
        assert float(row["worst_recall_of_the_mean"]) == pytest.approx(recalls.min(), rel=1e-5)
        assert float(row["best_minus_last"]) >= 0
        assert "hard_decile_recall" not in row  # no validation images were held out
        assert int(row["parameters"]) > 100_000
        assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in out


ORIGIN = [
    "How to repeat it",
    "In what the runs differ",
    "Configuration that all runs share",
    "Environment that all runs share",
]


def parts_of_origin(page):
    """The titles of how it came about, as on pages of runs."""
    titles = re.findall(r"<(?:summary|h2)>(.*?)</", page.read_text())
    start = titles.index("How to repeat it")
    return titles[start : start + len(ORIGIN)]


def test_a_sweep_ends_with_its_page_which_is_that_of_evaluate_by_what_was_swept(sweep, tmp_path, typed, tiny_words):
    page = sweep / "report" / "report.html"
    assert (sweep.parent / "out").read_text().splitlines()[-3:] == [
        f"sweep: {sweep / 'sweep.csv'}",
        f"page:  {page}",
        f"next:  python evaluate.py ckpt={sweep} group_by=loss baseline=focal",
    ]
    answer = typed(tmp_path, "evaluate", f"ckpt={sweep}", "group_by=loss", "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    names = ("sweep.csv", "sweep.txt", "classes.csv", "differences.csv")
    for name in names:
        assert (sweep / "report" / name).read_bytes() == (tmp_path / "out" / "report" / name).read_bytes()
    again = f"python train.py -m loss=cross_entropy,focal seed=0,1 {' '.join(tiny_words)} dataset.validation=test"
    text = page.read_text()
    assert "How to repeat it" in text and again in text
    assert re.search(
        "<td[^>]*>0\\.\\d{4} ±\\u00a00\\.\\d{4}</td>", text
    )  # if it must, ± goes to a line below with its number
    assert "2 groups by loss" in text and "4 runs, compared with cross_entropy" in text
    assert f"with another hydra.sweep.dir=FOLDER, makes it again\n{again}" in text
    compared = tmp_path / "out" / "report" / "report.html"
    assert parts_of_origin(page) == parts_of_origin(compared) == ORIGIN
    assert "<summary>Environment of the comparison</summary>" in compared.read_text()


def test_the_page_of_a_sweep_is_opened_once_and_written_again_for_other_jobs(
    sweep, tmp_path, typed, tiny_words, monkeypatch
):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    copy = shutil.copytree(sweep, tmp_path / "sweep")
    words = [*tiny_words, "dataset.validation=test", "checkpoint.choose=last", "hydra.sweep.dir=sweep", "open=true"]
    answer = typed(tmp_path, "train", "-m", "seed=0,1", *words)
    assert answer.code == 0, answer.err
    assert answer.out.count("is finished; nothing was done") == 2
    assert opened == [(copy / "report" / "report.html").as_uri()]
    assert answer.out.endswith(f"next:  python evaluate.py ckpt={copy} reference=OTHER_SWEEP\n")
    (row,) = rows(copy / "report" / "sweep.csv")
    assert (row["experiment"], row["n"]) == ("quickstart", "2")
    assert "Differences" not in (copy / "report" / "sweep.txt").read_text()


def test_a_group_of_choices_is_a_field_and_several_augmentations_are_one(sweep, tmp_path):
    config = RunFolder(sweep / "1_quickstart_0").read_config()
    kinds = {"none": {}, "flip": {"flip": Flip()}, "flip,cutout": {"cutout": Cutout(), "flip": Flip()}}
    runs = [
        claim(tmp_path / name, replace(config, augmentation=Augmentation(**operators)), [])
        for name, operators in kinds.items()
    ]
    assert grouped(runs, ["augmentation"]) == {name: [run] for name, run in zip(kinds, runs, strict=True)}
    assert list(grouped(runs, ["loss", "augmentation.flip"])) == ["cross_entropy off", "cross_entropy on"]


def test_every_class_has_its_recall_in_each_group(report, sweep):
    folder, _ = report
    table = rows(folder / "classes.csv")
    recalls = np.array([class_metrics(one).recall for one in predictions(sweep, "focal")])
    assert [float(row["focal"]) for row in table] == pytest.approx(recalls.mean(axis=0), rel=1e-5)
    assert [float(row["focal sd"]) for row in table] == pytest.approx(recalls.std(axis=0, ddof=1), abs=1e-6)
    assert [int(row["train_images"]) for row in table] == sorted(
        (int(row["train_images"]) for row in table), reverse=True
    )


def test_groups_are_compared_with_the_first_or_the_named_baseline(report, sweep, tmp_path, typed):
    folder, out = report
    (row,) = [row for row in rows(folder / "differences.csv") if row["metric"] == "accuracy"]
    values = [
        summarize(b)["accuracy"] - summarize(a)["accuracy"]
        for a, b in zip(predictions(sweep, "cross_entropy"), predictions(sweep, "focal"), strict=True)
    ]
    assert (row["loss.name"], row["baseline"], row["n"]) == ("focal", "cross_entropy", "2")
    assert float(row["difference"]) == pytest.approx(np.mean(values), abs=1e-6)
    assert float(row["interval_over_seeds"]) == pytest.approx(12.7062 * np.std(values, ddof=1) / 2**0.5, rel=1e-4)
    assert float(row["difference_of_first_seed"]) == pytest.approx(values[0], abs=1e-6)
    assert float(row["low_over_images"]) < values[0] < float(row["high_over_images"])
    assert "Differences from cross_entropy, of runs of the same seed (baseline=GROUP chooses another group):" in out
    assert "focal, 2 seeds in common: accuracy " in out and "  gained in every seed: " in out
    answer = typed(tmp_path, "evaluate", f"ckpt={sweep}", "group_by=loss.name", "baseline=focal")
    assert "Differences from focal, of runs of the same seed (baseline=" in answer.out


def test_the_plots_are_there(report):
    folder, _ = report
    names = {path.name for path in folder.glob("*.png")}
    assert names == {"accuracy_worst_decile.png", "recall_by_count.png", "delta_confusion_focal.png"}
    assert not (folder.parent / "predictions").exists()


def test_a_block_is_on_where_a_run_made_that_choice(sweep):
    runs = [RunFolder(path) for path in sorted(sweep.glob("*_quickstart_?"))]
    assert list(grouped(runs, ["loss.focal"])) == ["off", "on"]
    assert list(grouped(runs, ["loss.focal.gamma", "model.weights"])) == ["off null", "2.0 null"]


def test_groups_of_classes_are_shown_unless_all_have_many_images():
    unknown = float("nan")
    assert shown_groups({"many": 0.5, "medium": unknown, "few": unknown}) == ()
    assert shown_groups({"many": 0.5, "medium": unknown, "few": 0.1}) == ("many", "medium", "few")
    assert shown_groups({"accuracy": 0.5}) == ()


def test_several_fields_make_groups_of_their_combinations(sweep, tmp_path, typed):
    answer = typed(tmp_path, "evaluate", f"ckpt={sweep}", "group_by=[loss.name,seed]", "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    table = rows(tmp_path / "out" / "report" / "sweep.csv")
    assert [row["loss.name seed"] for row in table] == ["cross_entropy 0", "cross_entropy 1", "focal 0", "focal 1"]
    assert "no run has a seed of cross_entropy 0" in answer.out
    assert [row["macro_f1_sd"] for row in table] == [""] * 4


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["group_by=los.name"],
            "group_by=los.name: there is no such field (did you mean loss.name?); allowed are augmentation, ",
        ),
        (
            ["group_by=[seed,max_lr]"],
            "group_by=max_lr: there is no such field (did you mean schedule.max_lr?); ",
        ),
        (["group_by=loss.name", "baseline=ce"], "baseline=ce: allowed are cross_entropy, focal"),
        (["baseline=ce"], "baseline=ce: only with group_by=FIELD, a table of the runs in a folder"),
        (["group_by=loss.name", "split=test"], "split: has no effect on a table of runs; allowed are "),
        (["group_by=3"], "group_by=3: a field is expected, or a list of fields"),
    ],
)
def test_what_cannot_be_grouped_gives_a_one_line_error(sweep, tmp_path, typed, words, line):
    answer = typed(tmp_path, "evaluate", f"ckpt={sweep}", *words)
    assert answer.code == 2 and answer.err.startswith(f"evaluate.py: {line}") and answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_finished_runs(tmp_path, typed):
    (tmp_path / "empty").mkdir()
    answer = typed(tmp_path, "evaluate", "ckpt=empty", "group_by=seed")
    assert (answer.code, answer.err) == (2, "evaluate.py: ckpt=empty: there are no runs in it\n")


def test_adjusted_logits_are_further_groups_where_they_are_allowed(tmp_path, typed, tiny_words):
    words = ["-m", "loss=cross_entropy,balanced_softmax", *tiny_words, "training.epochs=1", "hydra.sweep.dir=sweep"]
    assert typed(tmp_path, "train", *words).code == 0
    words = ["ckpt=sweep", "group_by=loss.name", "hydra.run.dir=out", "adjust=logit_adjustment"]
    answer = typed(tmp_path, "evaluate", *words, "adjust.logit_adjustment.tau=2")
    assert answer.code == 0, answer.err
    assert "left out: balanced_softmax, logit_adjustment (adjust=logit_adjustment: corrects twice" in answer.out
    table = {row["loss.name"]: row for row in rows(tmp_path / "out" / "report" / "sweep.csv")}
    assert list(table) == ["cross_entropy", "balanced_softmax", "cross_entropy, logit_adjustment"]
    (run,) = (tmp_path / "sweep").glob("1_*")
    plain = Predictions.load(run / "predictions" / "test.npz")
    prior = plain.train_images / plain.train_images.sum()
    right = (plain.logits - 2 * np.log(prior)).argmax(1) == plain.labels
    row = table["cross_entropy, logit_adjustment"]
    assert float(row["accuracy"]) == pytest.approx(right.mean(), rel=1e-5)
    assert row["best_minus_last"] == ""
    words[0] = f"ckpt={tmp_path / 'sweep'}"
    answer = typed(tmp_path, "evaluate", *words, "adjust.class_bias.power=1")
    assert (answer.code, answer.err) == (
        2,
        "evaluate.py: adjust.class_bias.power=1.0: only with adjust=class_bias, here it is logit_adjustment\n",
    )


def test_runs_of_other_classes_are_refused_in_one_line(typed, tmp_path, tiny_words):
    generator = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 6)):
        for name in ("a", "b"):
            (folder := tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(generator.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(
                    folder / f"{number}.png"
                )
    words = [*tiny_words, "training.epochs=1"]
    assert typed(tmp_path, "train", *words, "hydra.run.dir=runs/digits").code == 0
    own = ["dataset=image_folder", f"dataset.root={tmp_path / 'images'}", "training.batch_size=8"]
    answer = typed(tmp_path, "train", *words, *own, "hydra.run.dir=runs/two")
    assert answer.code == 0, answer.err
    answer = typed(tmp_path, "evaluate", "ckpt=runs", "group_by=dataset.name", "hydra.run.dir=out")
    assert answer.code == 2
    assert re.fullmatch(r"evaluate.py: runs/\w+: its classes are not those of runs/\w+\n", answer.err), answer.err


def test_hard_classes_are_chosen_on_validation_images_of_the_baseline(typed, tmp_path, tiny_words):
    words = ["-m", "loss=cross_entropy,focal", "seed=0,1", *tiny_words, "training.epochs=1", "hydra.sweep.dir=sweep"]
    assert typed(tmp_path, "train", *words).code == 0
    answer = typed(tmp_path, "evaluate", "ckpt=sweep", "group_by=loss.name", "hydra.run.dir=out")
    assert answer.code == 0, answer.err

    def recalls(number, split):
        (run,) = (tmp_path / "sweep").glob(f"{number}_*")
        return class_metrics(Predictions.load(run / "predictions" / f"{split}.npz")).recall

    hardest = int(np.argmin(recalls(1, "validation") + recalls(2, "validation")))  # a tenth of ten classes
    table = {row["loss.name"]: row for row in rows(tmp_path / "out" / "report" / "sweep.csv")}
    means = {
        "cross_entropy": np.mean([recalls(number, "test")[hardest] for number in (1, 2)]),
        "focal": np.mean([recalls(number, "test")[hardest] for number in (3, 4)]),
    }
    assert {name: float(row["hard_decile_recall"]) for name, row in table.items()} == pytest.approx(means, abs=1e-5)
    (row,) = [r for r in rows(tmp_path / "out" / "report" / "differences.csv") if r["metric"] == "hard_decile_recall"]
    assert float(row["difference"]) == pytest.approx(means["focal"] - means["cross_entropy"], abs=1e-5)


def test_runs_of_one_group_that_have_the_same_seed_are_not_paired(tmp_path, typed, tiny_words):
    rates = "schedule.max_lr=0.001,0.002"
    words = ["-m", "loss=cross_entropy,focal", rates, *tiny_words, "training.epochs=1", "hydra.sweep.dir=sweep"]
    assert typed(tmp_path, "train", *words).code == 0
    answer = typed(tmp_path, "evaluate", "ckpt=sweep", "group_by=loss.name", "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    why = "several of its runs have the same seed; add to group_by the field in which they differ"
    assert f"focal: not compared, since {why}" in answer.out
    assert rows(tmp_path / "out" / "report" / "differences.csv") == []
    answer = typed(tmp_path, "evaluate", "ckpt=sweep", "group_by=[loss.name,schedule.max_lr]", "hydra.run.dir=both")
    assert "paired by seed" not in answer.out
