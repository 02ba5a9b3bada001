"""From run folders to the small result files that docs/answer.md is made of.

    python docs/answer_results.py RUNS docs/results/balanced

RUNS is the folder of a sweep over experiments and seeds: runs of exp2_tuned and of balanced/NAME, of which each five
with consecutive seeds from 0 are an ensemble as well. Where a run was evaluated with views on its test and its
validation images (in its own folder, as evaluate.py does unless told otherwise), these logits count as well. Every row
is given without a class bias and with ones of several powers, fitted on its own validation images. With fewer than
three seeds of exp2_tuned only runs.csv and recalls.csv are written, with fewer than five no class_values.csv, why.json
and ensembles.csv.

runs.csv        a line for each row, seed and power: metrics of the test and of the validation images (of these with a
                bias fitted on others of them); its trainings, their epochs and seconds on one thread, those of the run
                that it starts from and of a student's teacher included, each at the pace of its fastest epoch, and
                whether they were compiled; passes of a network for an image, and seconds of one over the test images
differences.csv each row and power against the baseline as trained, and against the plain recipe of as many passes with
                the bias of the same accuracy ("over_a_bias", empty where it has no such accuracy), means over the seeds
                with their standard errors
recalls.csv     for each class its mean recall over the seeds, by row, without a bias and with two of the powers
class_values.csv  the weight or the level of each class in the last epoch, mean over the seeds, by row
why.json        the classes that fail, what they are taken for, and what a bias mends; of the baseline, over its seeds
ensembles.csv   mean logit against mean probability, by ensemble, with intervals over the test images
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.stats import spearmanr

from cifar_imbalance import keys
from cifar_imbalance.configuration.differences import fingerprint
from cifar_imbalance.configuration.fields import Adjust, ClassBias, TrainConfig
from cifar_imbalance.evidence.adjustment import Given, cross_fitted, fit
from cifar_imbalance.evidence.auroc import auroc
from cifar_imbalance.evidence.bootstrap import DRAWS, paired_differences, worst_decile
from cifar_imbalance.evidence.combination import combine, paired
from cifar_imbalance.evidence.metrics import class_metrics, confusion_matrix, summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.groups import METRICS, hard_classes
from cifar_imbalance.report.tables import csv_text
from cifar_imbalance.runs.folder import RunFolder, runs_in

BASELINE = "exp2_tuned"
MEMBERS = 5
SEEDS = 3  # of the baseline, for standard errors
POWERS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
POWERS_BY_CLASS = (None, 0.5, 2.0)  # of recalls.csv
PASSES = {"none": 1, "flip": 2, "shift": 5, "flip_shift": 10}
COMPARED = ("accuracy", "worst_decile_recall", "hard_decile_recall")
VALIDATION_METRICS = ("accuracy", "worst_decile_recall")
CONFUSIONS = 3  # listed of each hard class
HALVES = 4  # splits of the validation images in two


@dataclass(frozen=True, eq=False)
class Row:
    """A network, or an ensemble, of one seed."""

    name: str
    seed: int
    test: Predictions
    validation: Predictions
    trainings: int
    epochs: int  # of all trainings
    seconds: float | None  # of all trainings, on one thread
    compiled: bool  # any of them
    passes: int  # of a network for each image at test time
    pass_seconds: float  # of one over the test images


def trainings_of(run: RunFolder) -> list[RunFolder]:
    """The run, the one that it starts from, and those that teach it."""
    config, found = run.read_config(), [run]
    if config.start is not None:
        found += trainings_of(RunFolder(Path(config.start)))
    if config.teacher is not None:
        settings = yaml.safe_load(Path(config.teacher, "config.yaml").read_text())
        found += [one for path in settings["ckpt"] for one in trainings_of(RunFolder(Path(path)))]
    return found


def seconds_of(run: RunFolder) -> float:
    history = run.checked_history()
    return float(min(line["seconds"] for line in history) * len(history))


def rows_of(run: RunFolder) -> Iterator[Row]:
    """A run's rows: its saved logits, and those of its evaluations with views."""
    config, history, trainings = run.read_config(), run.checked_history(), trainings_of(run)
    runtimes = [one.read_config().runtime for one in trainings]
    on_one_thread = all(runtime.threads == 1 for runtime in runtimes)
    found = {"none": {split: run.checked_predictions(split) for split in ("test", "validation")}}
    for file in sorted(run.path.glob("evaluations/*/config.yaml")):
        settings = yaml.safe_load(file.read_text())
        changed = settings["adjust"]["name"] != "none" or settings["test_prior"]["profile"] != "none"
        if settings["views"] != "none" and settings["images"] is None and not changed:
            split, views = settings["split"], settings["views"]
            if settings["view_weights"] != "equal":
                views += f", view_weights={settings['view_weights']}"
            found.setdefault(views, {})[split] = file.parent / "predictions" / f"{split}.npz"
    for views, files in found.items():
        if set(files) == {"test", "validation"}:
            test, validation = (Predictions.load(files[split]) for split in ("test", "validation"))
            yield Row(
                name=config.experiment if views == "none" else f"{config.experiment}, views={views}",
                seed=config.seed,
                test=test,
                validation=validation,
                trainings=len(trainings),
                epochs=sum(len(one.checked_history()) for one in trainings),
                seconds=sum(map(seconds_of, trainings)) if on_one_thread else None,
                compiled=any(runtime.compile for runtime in runtimes),
                passes=PASSES[views.split(",")[0]],
                pass_seconds=min(line["validation_seconds"] for line in history)
                * len(test.labels)
                / len(validation.labels),
            )


def check_alike(runs: Sequence[RunFolder]) -> None:
    """Raises SystemExit if two runs of one experiment differ by more than seed, start, threads and compilation."""
    first: dict[str, TrainConfig] = {}
    for run in runs:
        own = run.read_config()
        plain = replace(own, seed=0, start=None, start_sha256=None, runtime=replace(own.runtime, compile=False))
        other = first.setdefault(own.experiment, plain)
        if fingerprint(plain) != fingerprint(other):
            raise SystemExit(f"{run.path}: is another experiment than other runs of {own.experiment}")


def ensembles_of(rows: Sequence[Row]) -> Iterator[Row]:
    """The runs of each row in fives by seed, combined in both ways."""
    for name in dict.fromkeys(row.name for row in rows):
        by_seed = {row.seed: row for row in rows if row.name == name}
        for number in range(len(by_seed) // MEMBERS):
            members = [row for k in range(MEMBERS) if (row := by_seed.get(number * MEMBERS + k)) is not None]
            if len(members) < MEMBERS:
                continue
            seconds = [member.seconds for member in members if member.seconds is not None]
            for how in ("mean_probability", "mean_logit"):
                yield Row(
                    name=f"five of {name}, {how}",
                    seed=number,
                    test=combine([member.test for member in members], how),
                    validation=combine([member.validation for member in members], how),
                    trainings=sum(member.trainings for member in members),
                    epochs=sum(member.epochs for member in members),
                    seconds=sum(seconds) if len(seconds) == MEMBERS else None,
                    compiled=any(member.compiled for member in members),
                    passes=sum(member.passes for member in members),
                    pass_seconds=min(member.pass_seconds for member in members),
                )


def class_bias(power: float) -> Adjust:
    return Adjust(name="class_bias", class_bias=ClassBias(power=power))


def biased(row: Row, power: float) -> Predictions:
    return fit(class_bias(power), Given(row.validation))(row.test)


def mean_recalls(rows: Sequence[Predictions]) -> NDArray[np.float64]:
    """Of each class [K], over the rows."""
    return np.asarray(np.mean([class_metrics(predictions).recall for predictions in rows], axis=0))


def runs_csv(rows: Sequence[Row], found: dict[tuple[int, float | None], Predictions], hard: NDArray[np.int64]) -> str:
    lines = []
    for (number, power), predictions in found.items():
        row, summary = rows[number], summarize(predictions)
        recall = class_metrics(predictions).recall
        of_validation = row.validation if power is None else cross_fitted(class_bias(power), Given(row.validation))
        validation = summarize(of_validation)
        values = [*(summary[name] for name in METRICS), recall[hard].mean()]
        values += [validation[name] for name in VALIDATION_METRICS]
        seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
        cells = [row.trainings, row.epochs, seconds, row.compiled, row.passes, f"{row.pass_seconds:.1f}"]
        lines.append([row.name, row.seed, "" if power is None else power, *(f"{v:.4f}" for v in values), *cells])
    names = [*METRICS, "hard_decile_recall", *(f"validation_{name}" for name in VALIDATION_METRICS)]
    cost = ["trainings", "epochs", "seconds", "compiled", "passes", "pass_seconds"]
    return csv_text(["row", "seed", "class_bias_power", *names, *cost], lines)


def recalls_csv(rows: Sequence[Row], found: dict[tuple[int, float | None], Predictions]) -> str:
    groups: dict[tuple[str, float | None], list[NDArray[np.float64]]] = {}
    for (number, power), predictions in found.items():
        if power in POWERS_BY_CLASS:
            groups.setdefault((rows[number].name, power), []).append(class_metrics(predictions).recall)
    means = {name if power is None else f"{name}, bias {power:g}": np.mean(r, 0) for (name, power), r in groups.items()}
    names = rows[0].test.class_names
    lines = [[k, name, *(f"{mean[k]:.4f}" for mean in means.values())] for k, name in enumerate(names)]
    return csv_text(["class", "name", *means], lines)


@dataclass(frozen=True, eq=False)
class Compared:
    """The metrics COMPARED [..., 3] of a row with a bias, means over its seeds: over the draws, and as they are."""

    drawn: NDArray[np.float64]
    mean: NDArray[np.float64]
    each: NDArray[np.float64]  # of each seed


def compared(
    rows: Sequence[Row], found: dict[tuple[int, float | None], Predictions], hard: NDArray[np.int64]
) -> dict[tuple[str, float | None], Compared]:
    """By row and power. All are drawn the same test images, stratified by class."""
    labels = rows[0].test.labels
    images = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
    generator = keys.generator(0, "answer")
    weights = [
        generator.multinomial(len(of), np.full(len(of), 1 / len(of)), size=DRAWS).astype(np.float32) for of in images
    ]

    def metrics(recalls: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([recalls.mean(-1), worst_decile(recalls), recalls[..., hard].mean(-1)], axis=-1)

    drawn: dict[tuple[str, float | None], list[NDArray[np.float64]]] = {}
    each: dict[tuple[str, float | None], list[NDArray[np.float64]]] = {}
    for (number, power), predictions in found.items():
        key = (rows[number].name, power)
        right = (predictions.predicted == labels).astype(np.float32)
        recalls = np.stack([w @ right[of] / len(of) for w, of in zip(weights, images, strict=True)], axis=-1)
        drawn.setdefault(key, []).append(metrics(recalls))
        each.setdefault(key, []).append(metrics(class_metrics(predictions).recall))
    return {key: Compared(np.mean(drawn[key], 0), np.mean(each[key], 0), np.stack(each[key])) for key in drawn}


def over_a_bias(values: NDArray[np.float64], curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Worst and hard decile [2] of `values` [3] over those of a curve [powers, 3] at the same accuracy, or at its end.

    The curve is a straight line between two powers.
    """
    curve = curve[np.argsort(curve[:, 0])]
    return np.array([values[k] - np.interp(values[0], curve[:, 0], curve[:, k]) for k in (1, 2)])


def slopes(accuracy: float, curve: NDArray[np.float64], step: float = 0.002) -> NDArray[np.float64]:
    """By how much worst and hard decile [2] of the curve rise with the accuracy there."""
    ends = [over_a_bias(np.array([accuracy + sign * step, 0.0, 0.0]), curve) for sign in (1, -1)]
    return (ends[1] - ends[0]) / (2 * step)


def pooled_covariance(samples: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Of samples [n, metrics] with means of their own, those of at least two: [metrics, metrics]."""
    several = [sample for sample in samples if len(sample) > 1]
    freedom = sum(len(sample) - 1 for sample in several)
    return np.asarray(sum(np.cov(sample, rowvar=False) * (len(sample) - 1) for sample in several) / freedom)


def differences_csv(
    rows: Sequence[Row], found: dict[tuple[int, float | None], Predictions], hard: NDArray[np.int64]
) -> str:
    """A standard error has two parts: of the test images, by bootstrap, and of the seeds, whose covariance is pooled
    over the rows that have more than one.
    """
    metrics = compared(rows, found, hard)
    base = metrics[BASELINE, None]
    kind = {row.name: (row.passes, row.name.startswith("five of")) for row in rows}
    plain = {
        kind[name]: [metrics[name, power] for power in (None, *POWERS)]
        for name in kind
        if name.removeprefix("five of ").split(",")[0] == BASELINE and "view_weights" not in name
        if not name.endswith("mean_probability")
    }
    covariance = pooled_covariance(one.each for one in metrics.values())
    lines = []
    for (name, power), one in metrics.items():
        count, of_base = len(one.each), len(base.each)
        seeds = 0.0 if one is base else np.diag(covariance) * (1 / count + 1 / of_base)
        errors = np.sqrt((one.drawn - base.drawn).var(axis=0) + seeds)
        cells = [f"{value:.4f}" for pair in zip(one.mean - base.mean, errors, strict=True) for value in pair]
        curve = plain.get(kind[name], [])
        points = np.array([point.mean for point in curve]).reshape(-1, len(COMPARED))
        has_curve = bool(curve) and curve[0] is not metrics[name, None]
        if has_curve and points[:, 0].min() <= one.mean[0] <= points[:, 0].max():
            of_curve = np.stack([point.drawn for point in curve], axis=1)
            drawn = np.stack([over_a_bias(*pair) for pair in zip(one.drawn, of_curve, strict=True)])
            along = np.column_stack([-slopes(one.mean[0], points), np.eye(2)])  # of the metrics [2, 3]
            seeds = np.diag(along @ covariance @ along.T) * (1 / count + 1 / len(curve[0].each))
            errors = np.sqrt(drawn.var(axis=0) + seeds)
            over = over_a_bias(one.mean, points)
            cells += [f"{value:.4f}" for pair in zip(over, errors, strict=True) for value in pair]
        else:
            cells += [""] * 4
        lines.append([name, "" if power is None else power, count, *cells])
    names = [*COMPARED, *(f"{metric}_over_a_bias" for metric in COMPARED[1:])]
    header = [one for name in names for one in (name, f"{name}_error")]
    return csv_text(["row", "class_bias_power", "n", *header], lines)


def class_values_csv(runs: Sequence[RunFolder], names: Sequence[str]) -> str:
    """What the controllers set, of which a class without a column in weights.csv or levels.csv has none."""
    columns: dict[str, list[list[float]]] = {}
    for run in runs:
        for file in ("weights.csv", "levels.csv"):
            if (path := run.path / file).is_file():
                with path.open(encoding="utf-8", newline="") as text:
                    last = list(csv.DictReader(text))[-1]
                what = f"{run.read_config().experiment}, {file.removesuffix('s.csv')}"
                columns.setdefault(what, []).append([float(last[name]) for name in names])
    means = {what: np.mean(of_runs, axis=0) for what, of_runs in sorted(columns.items())}
    lines = [[k, name, *(f"{mean[k]:.3f}" for mean in means.values())] for k, name in enumerate(names)]
    return csv_text(["class", "name", *means], lines)


def among_first(predictions: Predictions, count: int) -> NDArray[np.float64]:
    """The share of each class's images [K] whose class is among the `count` largest logits."""
    own = np.take_along_axis(predictions.logits, predictions.labels[:, None], axis=1)
    inside = (predictions.logits > own).sum(axis=1) < count
    classes = predictions.logits.shape[1]
    return np.bincount(predictions.labels, inside, minlength=classes) / np.bincount(
        predictions.labels, minlength=classes
    )


def gains_of_hard_classes(rows: Sequence[Row], power: float) -> dict[str, float]:
    """What a bias gives the hard classes of one half of the validation images, fitted on that half or on the other."""
    gains: dict[str, list[float]] = {"fitted_on_the_same_images": [], "fitted_on_other_images": []}
    generator = np.random.default_rng(0)
    for _ in range(HALVES):
        order = generator.permutation(len(rows[0].validation.labels))
        halves = np.array_split(order, 2)
        hard = hard_classes([row.validation.take(halves[0]) for row in rows])
        for row in rows:
            before = class_metrics(row.test).recall[hard].mean()
            for half, found in zip(halves, gains.values(), strict=True):
                after = fit(class_bias(power), Given(row.validation.take(half)))(row.test)
                found.append(class_metrics(after).recall[hard].mean() - before)
    return {name: float(np.mean(found)) for name, found in gains.items()}


@dataclass(frozen=True, eq=False)
class OfClasses:
    """Of each class [K], means over the runs of a row."""

    recalls: NDArray[np.float64]  # of each run, [runs, K]
    with_bias: dict[str, NDArray[np.float64]]  # recall, by the power of the class bias
    false_positive_rate: NDArray[np.float64]
    auroc: NDArray[np.float64]
    among_first: dict[str, NDArray[np.float64]]
    taken_for: NDArray[np.float64]  # [K, K], shares of the row's images, its own class 0

    @classmethod
    def of(cls, rows: Sequence[Row]) -> OfClasses:
        tests = [row.test for row in rows]
        taken_for = np.mean([confusion_matrix(test) for test in tests], axis=0)
        taken_for /= taken_for.sum(axis=1, keepdims=True)
        np.fill_diagonal(taken_for, 0)
        counts = {"two": 2, "five": 5}
        return cls(
            recalls=np.stack([class_metrics(test).recall for test in tests]),
            with_bias={f"{power:g}": mean_recalls([biased(row, power) for row in rows]) for power in POWERS},
            false_positive_rate=np.mean([class_metrics(test).false_positive_rate for test in tests], axis=0),
            auroc=np.mean([auroc(test) for test in tests], axis=0),
            among_first={word: np.mean([among_first(test, n) for test in tests], 0) for word, n in counts.items()},
            taken_for=taken_for,
        )

    def of_one(self, k: int, names: Sequence[str]) -> dict[str, Any]:
        recalls, wrong = self.recalls[:, k], self.taken_for[k]
        most = np.argsort(-wrong)[:CONFUSIONS]
        return {
            "name": names[k],
            "recall": recalls.mean(),
            "recall_sd": recalls.std(ddof=1) if len(recalls) > 1 else None,
            "false_positive_rate": self.false_positive_rate[k],
            "taken_for": {names[other]: wrong[other] for other in most},
            "share_of_errors_to_these": wrong[most].sum() / wrong.sum(),
            "with_bias": {power: recall[k] for power, recall in self.with_bias.items()},
            "auroc": self.auroc[k],
            "among_first_two": self.among_first["two"][k],
            "among_first_five": self.among_first["five"][k],
        }

    def of_group(self, group: NDArray[np.int64] | slice) -> dict[str, Any]:
        """Means over the classes of `group`."""
        return {
            "recall": self.recalls[:, group].mean(),
            "false_positive_rate": self.false_positive_rate[group].mean(),
            "auroc": self.auroc[group].mean(),
            "among_first_two": self.among_first["two"][group].mean(),
            "among_first_five": self.among_first["five"][group].mean(),
        }


def agreement(recalls: NDArray[np.float64], hard: NDArray[np.int64]) -> dict[str, float]:
    """How alike runs are by their recalls [runs, K], and how many of the `hard` classes are among a run's worst."""
    worst = [set(np.argsort(recall, kind="stable")[: len(hard)].tolist()) for recall in recalls]
    pairs = [(a, b) for a in range(len(recalls)) for b in range(a)]
    return {
        "hard_classes_among_the_worst_of_a_run": float(np.mean([len(one & set(hard.tolist())) for one in worst])),
        "worst_classes_that_two_runs_share": float(np.mean([len(worst[a] & worst[b]) for a, b in pairs])),
        "rank_correlation_of_recalls_of_two_runs": float(
            np.mean([spearmanr(recalls[a], recalls[b])[0] for a, b in pairs])
        ),
    }


def why(rows: Sequence[Row], hard: NDArray[np.int64]) -> dict[str, Any]:
    """What is wrong with the hard classes of the baseline, which has several runs."""
    own = [row for row in rows if row.name == BASELINE]
    found, names = OfClasses.of(own), own[0].test.class_names
    on_test = {power: [fit(class_bias(power), Given(row.test))(row.test) for row in own] for power in POWERS}
    return {
        "baseline": BASELINE,
        "seeds": [row.seed for row in own],
        "hard_classes": [found.of_one(k, names) for k in hard],
        **agreement(found.recalls, hard),
        "correlation_of_recall_and_false_positive_rate": float(
            spearmanr(found.recalls.mean(axis=0), found.false_positive_rate)[0]
        ),
        "of_hard_classes": {
            **found.of_group(hard),
            "with_bias": {power: recall[hard].mean() for power, recall in found.with_bias.items()},
        },
        "gain_of_hard_classes_of_half_the_validation_images": gains_of_hard_classes(own, 0.5),
        "worst_decile_recall": {
            "as_trained": float(np.mean([summarize(row.test)["worst_decile_recall"] for row in own])),
            "with_bias_fitted_on_the_test_images": {  # no method: what no bias exceeds by much
                f"{power:g}": float(np.mean([summarize(one)["worst_decile_recall"] for one in of_power]))
                for power, of_power in on_test.items()
            },
        },
        "of_all_classes": found.of_group(slice(None)),
    }


def ensembles_csv(rows: Sequence[Row]) -> str:
    """mean_logit less mean_probability of each ensemble, with 95 % intervals over the test images."""
    lines = []
    by_name = {(row.name, row.seed): row for row in rows}
    for (name, seed), row in by_name.items():
        other = by_name.get((name.replace("mean_probability", "mean_logit"), seed))
        if not name.endswith("mean_probability") or other is None:
            continue
        for power in (None, *POWERS):
            one, two = ((r.test if power is None else biased(r, power)) for r in (row, other))
            right = [predictions.predicted == predictions.labels for predictions in (one, two)]
            for metric, (value, low, high) in paired_differences(one.labels, *right).items():
                bias = "" if power is None else power
                lines.append([name.rpartition(",")[0], seed, bias, metric, f"{value:.4f}", f"{low:.4f}", f"{high:.4f}"])
    return csv_text(["ensemble", "seed", "class_bias_power", "metric", "difference", "low", "high"], lines)


def main(folder: Path, results: Path) -> None:
    finished = [run for run in runs_in(folder) if run.is_finished and run.read_config().ensemble.members == 1]
    rows = [row for run in finished for row in rows_of(run)]
    keys = [(row.name, row.seed) for row in rows]
    twice = [key for number, key in enumerate(keys) if key in keys[:number]]
    if twice:
        name, seed = twice[0]
        raise SystemExit(f"{folder}: two runs are {name} with seed {seed}; a row has one run of each seed")
    check_alike(finished)
    rows.sort(key=lambda row: (row.name != BASELINE, row.name, row.seed))
    alike = paired([row.test for row in rows], [f"{row.name} {row.seed}" for row in rows])
    rows = [replace(row, test=test) for row, test in zip(rows, alike, strict=True)]
    rows += ensembles_of(rows)
    found = {
        (number, power): row.test if power is None else biased(row, power)
        for number, row in enumerate(rows)
        for power in (None, *POWERS)
    }
    hard = hard_classes([row.validation for row in rows if row.name == BASELINE])
    results.mkdir(parents=True, exist_ok=True)
    (results / "runs.csv").write_text(runs_csv(rows, found, hard))
    (results / "recalls.csv").write_text(recalls_csv(rows, found))
    seeds = sum(row.name == BASELINE for row in rows)
    if seeds >= SEEDS:
        (results / "differences.csv").write_text(differences_csv(rows, found, hard))
    if seeds >= MEMBERS:
        (results / "class_values.csv").write_text(class_values_csv(finished, rows[0].test.class_names))
        (results / "ensembles.csv").write_text(ensembles_csv(rows))
        text = json.dumps(why(rows, hard), indent=1, default=float)
        (results / "why.json").write_text(text + "\n")
    print(f"{len(finished)} runs, {len(rows)} rows: {results}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
