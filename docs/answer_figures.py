"""From the result files to the tables and figures of docs/answer.md: python docs/answer_figures.py

Reads docs/results/balanced/ and the folders of CARRIED, which answer_results.py wrote. Each table and each number of
answer.md stands between two comments, `<!-- NAME -->` and `<!-- end -->`, and is written anew.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import spearmanr

DOCS = Path(__file__).parent
RESULTS = DOCS / "results" / "balanced"
BASELINE = "exp2_tuned"
BIAS = "0.5"  # the power of the tables
# The same recipes unchanged on other images, and with another network.
CARRIED = {"CIFAR-10": "balanced_cifar10", "ResNet-18 from scratch": "balanced_resnet18"}
METRICS = ("accuracy", "worst_decile_recall", "hard_decile_recall")
NAMES = ("accuracy", "worst decile", "hard decile")
STRONG = "2"  # the other power that the text mentions
# Rows of which the text mentions numbers.
MENTIONED = {
    "base": BASELINE,
    "flipped": f"{BASELINE}, views=flip",
    "weighted": "balanced/recall_weights",
    "weighted flipped": "balanced/recall_weights, views=flip",
    "mild": "balanced/mild_recall_weights",
    "strong": "balanced/constant_level",
    "strong for easy": "balanced/strong_for_easy",
    "strong for hard": "balanced/strong_for_hard",
    "head": "balanced/crt",
    "head weighted": "balanced/crt_recall_weights",
    "longer": "balanced/longer",
    "distilled": "balanced/distilled",
    "trusted": "balanced/distilled_by_recall",
    "equal": "balanced/distilled_equal_shares",
    "distilled adjusted": "balanced/distilled_adjusted",
    "distilled weighted": "balanced/distilled_recall_weights",
    "five": f"five of {BASELINE}, mean_logit",
    "five weighted": "five of balanced/recall_weights, mean_logit",
    "five weighted flipped": "five of balanced/recall_weights, views=flip, mean_logit",
    "five flipped": f"five of {BASELINE}, views=flip, mean_logit",
}
CARRIED_ROWS = {
    "base": BASELINE,
    "weighted": "balanced/recall_weights",
    "flipped": f"{BASELINE}, views=flip",
    "shifted": f"{BASELINE}, views=flip_shift",
    "shifted by class": f"{BASELINE}, views=flip_shift, view_weights=by_class",
}
# Rows whose points with a bias of any power are joined in the figure.
CURVES = (MENTIONED["weighted"], MENTIONED["longer"], MENTIONED["equal"])
LINES = {"-": "the plain recipe", "--": "weights by recall, a student, 60 epochs"}  # of the figure
# By budget: what is done, the row, and the power of its bias: as trained, or the one that `gains` takes.
TRAINED, TAKEN = "", "taken"
SUMMARY = (
    ("the plain recipe", BASELINE, TRAINED),
    ("the plain recipe", BASELINE, TAKEN),
    ("weights by validation recall", MENTIONED["weighted"], TRAINED),
    ("the plain recipe, two views of each test image", MENTIONED["flipped"], TAKEN),
    ("weights by validation recall, two views", MENTIONED["weighted flipped"], TAKEN),
    ("five with weights by recall, mean logit", MENTIONED["five weighted"], TRAINED),
    ("the same, two views of each test image", MENTIONED["five weighted flipped"], TAKEN),
    ("a student of five plain ones, 0.43 of its loss from the labels", MENTIONED["equal"], TAKEN),
    ("the plain recipe for 60 epochs", MENTIONED["longer"], TRAINED),
    ("the plain recipe for 60 epochs", MENTIONED["longer"], TAKEN),
)
PAYERS = 8  # classes in the table of those that lose
Lines = list[dict[str, str]]
Spread = tuple[float, float | None, int]  # mean, sample standard deviation, n


@cache
def read(name: str, results: Path = RESULTS) -> Lines:
    with (results / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_of(lines: Lines) -> list[str]:
    """The rows' names, the baseline first, ensembles last; of ensembles those by mean logit."""
    names = dict.fromkeys(line["row"] for line in lines if not line["row"].endswith("mean_probability"))
    return sorted(names, key=lambda name: (name.startswith("five"), name.split(",")[0] != BASELINE, name))


def plain_rows(lines: Lines) -> list[str]:
    """The baseline, with views, and its ensembles."""
    return [row for row in rows_of(lines) if row.removeprefix("five of ").split(",")[0] == BASELINE]


def powers(lines: Lines) -> list[str]:
    """Those of the biases, none first."""
    return sorted({line["class_bias_power"] for line in lines}, key=lambda power: float(power or -1))


def values(lines: Lines, row: str, power: str, metric: str) -> dict[int, float]:
    """By seed."""
    return {
        int(line["seed"]): float(line[metric])
        for line in lines
        if (line["row"], line["class_bias_power"]) == (row, power and f"{float(power)}")
    }


def spread(numbers: list[float]) -> Spread:
    sd = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
    return float(np.mean(numbers)), sd, len(numbers)


def shown(numbers: list[float]) -> str:
    """Their mean and standard deviation."""
    mean, sd, _ = spread(numbers)
    return f"{mean:.3f}" + ("" if sd is None else f" ± {sd:.3f}")


def shown_power(power: str) -> str:
    return f"{float(power):g}" if power else "none"


def table(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


def means(lines: Lines, row: str, power: str) -> list[float]:
    """Of METRICS."""
    return [float(np.mean(list(values(lines, row, power, metric).values()))) for metric in METRICS]


def cost(lines: Lines, row: str) -> list[str]:
    """Trainings, passes, and n."""
    first = next(line for line in lines if line["row"] == row)
    return [first["trainings"], first["passes"], str(len(values(lines, row, "", "accuracy")))]


def epochs(lines: Lines, row: str) -> str:
    """Of all trainings."""
    return next(line["epochs"] for line in lines if line["row"] == row)


def minutes(lines: Lines, row: str) -> str:
    """Of the fastest run; of those that were compiled only where there are no others, and then with a c."""
    own = [line for line in lines if line["row"] == row and line["seconds"]]
    eager = [line for line in own if line["compiled"] == "False"]
    seconds = [float(line["seconds"]) for line in eager or own]
    return f"{min(seconds) / 60:.0f}{'' if eager else ' c'}" if seconds else ""


def summary_table() -> str:
    lines, found = read("runs.csv"), []
    for what, row, power in SUMMARY:
        used = gains(lines, row) if power == TAKEN else ""
        if used is None:
            continue
        cells = [shown(list(values(lines, row, used, metric).values())) for metric in METRICS]
        found.append([what, epochs(lines, row), *cost(lines, row), shown_power(used), *cells])
    return table(["", "epochs", "trainings", "passes", "n", "power of the bias", *NAMES], found)


def front_table() -> str:
    """Each row without and with a class bias; means over its seeds, and the cost."""
    lines = read("runs.csv")
    found = []
    for row in rows_of(lines):
        cells = [row, *cost(lines, row)]
        for power in ("", BIAS):
            for metric in METRICS:
                cells.append(shown(list(values(lines, row, power, metric).values())))
        found.append([*cells, epochs(lines, row), minutes(lines, row)])
    bias = [f"{name}, bias" for name in NAMES]
    return table(["row", "trainings", "passes", "n", *NAMES, *bias, "epochs", "minutes"], found)


def gains(lines: Lines, row: str) -> str | None:
    """The largest power of the bias whose accuracy on validation images is no less than was asked for; None if no power
    is enough.

    Asked for: the baseline's accuracy less 0.003 of one network, 0.03 more than that of five.
    """
    own = np.mean(list(values(lines, BASELINE, "", "validation_accuracy").values()))
    least = own + (0.03 if row.startswith("five") else -0.003)
    of_validation = {p: np.mean(list(values(lines, row, p, "validation_accuracy").values())) for p in powers(lines)}
    kept = [power for power, accuracy in of_validation.items() if accuracy >= least]
    return kept[-1] if kept else None


def compared(row: str, power: str, results: Path = RESULTS) -> dict[str, str]:
    """The line of differences.csv: from the baseline without a bias, and over a bias alone."""
    for line in read("differences.csv", results):
        if line["row"] == row and line["class_bias_power"] == (power and f"{float(power)}"):
            return line
    raise SystemExit(
        f"docs/results/{results.name} has no row {row}, power {shown_power(power)}, which docs/answer.md mentions"
    )


def difference(row: str, power: str, metric: str, results: Path = RESULTS) -> str:
    """With its standard error; empty if there is none."""
    line = compared(row, power, results)
    return f"{float(line[metric]):+.3f} ± {float(line[f'{metric}_error']):.3f}" if line[metric] else ""


OVER = tuple(f"{metric}_over_a_bias" for metric in METRICS[1:])
OVER_NAMES = tuple(f"{name}, over a bias alone" for name in NAMES[1:])


def aims_table() -> str:
    lines, found = read("runs.csv"), []
    for row in rows_of(lines):
        if (power := gains(lines, row)) is not None:
            cells = [difference(row, power, metric) for metric in (*METRICS, *OVER)]
            found.append([row.removeprefix("balanced/"), *cost(lines, row), shown_power(power), *cells])
    return table(["row", "trainings", "passes", "n", "power", *NAMES, *OVER_NAMES], found)


def changes_table() -> str:
    """What one change of a training of as many epochs does, one pass: differences from the baseline, best worst decile
    first.
    """
    lines = read("runs.csv")
    own = cost(lines, BASELINE)[:2], epochs(lines, BASELINE)
    rows = [row for row in rows_of(lines) if (cost(lines, row)[:2], epochs(lines, row)) == own and row != BASELINE]
    found = []
    for row in sorted(rows, key=lambda row: -means(lines, row, "")[1]):
        cells = [difference(row, "", metric) for metric in METRICS]
        cells += [difference(row, BIAS, metric) for metric in (METRICS[0], *OVER)]
        found.append([row.removeprefix("balanced/"), cost(lines, row)[2], *cells])
    return table(["", "n", *NAMES, "accuracy, bias", *OVER_NAMES], found)


def payers_table() -> str:
    """The classes that lose most by a bias of the power of the tables: mean recalls of the baseline."""
    lines = read("recalls.csv")
    after = {power: f"{BASELINE}, bias {power}" for power in (BIAS, STRONG)}
    lost = sorted(lines, key=lambda line: float(line[after[BIAS]]) - float(line[BASELINE]))[:PAYERS]
    found = [[line["name"], *(f"{float(line[name]):.2f}" for name in (BASELINE, *after.values()))] for line in lost]
    return table(["class", "recall", f"bias of power {BIAS}", "of power 2"], found)


def carried_table() -> str:
    """The rows of CARRIED, without and with a class bias."""
    found = []
    for name, folder in CARRIED.items():
        if not (DOCS / "results" / folder).is_dir():
            continue
        lines = read("runs.csv", DOCS / "results" / folder)
        for row in rows_of(lines):
            of_row = [
                list(values(lines, row, power, metric).values()) for power in ("", BIAS, STRONG) for metric in METRICS
            ]
            found.append([name, row, str(len(of_row[0])), *map(shown, of_row)])
    with_bias = [f"{one}, {bias}" for bias in ("bias", f"power {STRONG}") for one in NAMES]
    return table(["", "row", "n", *NAMES, *with_bias], found)


def hard_table() -> str:
    found = []
    for one in why()["hard_classes"]:
        taken = ", ".join(f"{name} {share:.2f}" for name, share in one["taken_for"].items())
        taken += f" ({one['share_of_errors_to_these']:.0%} of its errors)"
        numbers = [one["recall"], one["with_bias"][BIAS], one["among_first_two"], one["auroc"]]
        cells = [one["name"], *(f"{number:.2f}" for number in numbers[:3]), f"{numbers[3]:.3f}", taken]
        found.append(cells)
    return table(["class", "recall", "with a bias", "among the first two", "AUROC", "taken for"], found)


def ensembles_table() -> str:
    lines = [line for line in read("ensembles.csv") if line["metric"] in ("accuracy", "worst_decile_recall")]
    found = []
    for line in lines:
        if line["class_bias_power"] in ("", BIAS):
            power = line["class_bias_power"] or "none"
            interval = f"{float(line['difference']):+.3f} ({float(line['low']):+.3f} to {float(line['high']):+.3f})"
            found.append([line["ensemble"], line["seed"], power, line["metric"].replace("_", " "), interval])
    return table(["ensemble", "ensemble no.", "class bias", "metric", "mean logit less mean probability"], found)


def why() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "why.json").read_text())
    return found


def front_figure(path: Path) -> None:
    """Accuracy against the worst decile: every row as trained, bars: sd; lines: with a class bias of rising power.

    Colours are passes, markers trainings.
    """
    lines = read("runs.csv")
    names = rows_of(lines)
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    whole, near = figure.subplots(1, 2)
    colours = {"1": "C0", "2": "C2", "5": "C1", "10": "C3"}
    markers = {"1": "o", "2": "v", "5": "s", "6": "D"}
    base = means(lines, BASELINE, "")[0]
    near.set_xlim(base - 0.02, max(means(lines, row, "")[0] for row in names) + 0.006)
    near.set_ylim(0.24, 0.40)
    for axes in (whole, near):
        labelled: list[tuple[float, float]] = []
        for number, row in enumerate(names, 1):
            trainings, passes, _ = cost(lines, row)
            x, y = (spread(list(values(lines, row, "", metric).values())) for metric in METRICS[:2])
            if axes is near and not (near.get_xlim()[0] < x[0] and near.get_ylim()[0] < y[0]):
                continue
            marker, colour = markers[trainings], colours[passes]
            axes.errorbar(x[0], y[0], xerr=x[1], yerr=y[1], fmt=marker, ms=7, lw=0.8, zorder=3, color=colour)
            close = [at for at in labelled if abs(at[0] - x[0]) < 0.006 and abs(at[1] - y[0]) < 0.012]
            offset = ((6, -10), (-14, 5), (6, 5), (-14, -10))[len(close) % 4]
            axes.annotate(f"{number}", (x[0], y[0]), xytext=offset, textcoords="offset points", fontsize=8)
            labelled.append((x[0], y[0]))
            if row in (*plain_rows(lines), *CURVES):
                points = [means(lines, row, power)[:2] for power in powers(lines)]
                style = "-" if row in plain_rows(lines) else "--"
                axes.plot(
                    *zip(*points, strict=True), style, color=colour, lw=1.2, marker=".", ms=4, alpha=0.6, zorder=1
                )
        axes.set_xlabel("accuracy on the test images")
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    whole.set_ylabel("mean recall of the worst tenth of the classes")
    near.set_title("The same, enlarged", fontsize=10)
    whole.set_title("Markers: as trained. Lines: with a class bias of rising power. Bars: sd over seeds", fontsize=10)
    keys = [
        Line2D([], [], color=colour, lw=4, label=f"{p} pass{'' if p == '1' else 'es'}") for p, colour in colours.items()
    ]
    used = {cost(lines, row)[0] for row in names}
    keys += [
        Line2D([], [], color="0.3", marker=m, lw=0, label=f"{n} training{'' if n == '1' else 's'}")
        for n, m in markers.items()
        if n in used
    ]
    keys += [Line2D([], [], color="0.4", lw=1.2, ls=ls, label=f"a bias on {of}") for ls, of in LINES.items()]
    keys += [
        Line2D([], [], lw=0, label=f"{number}  {row.replace('balanced/', '')}") for number, row in enumerate(names, 1)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def hard_figure(path: Path) -> None:
    """The recalls of the hard classes: of the baseline (bars: sd over its seeds), with a bias, of the ensembles."""
    lines = read("recalls.csv")
    hard = [one["name"] for one in why()["hard_classes"]]
    over_seeds = [one["recall_sd"] for one in why()["hard_classes"]]
    by_name = {line["name"]: line for line in lines}
    columns = [BASELINE, f"{BASELINE}, bias {BIAS}"]
    ensemble = f"five of {BASELINE}, mean_logit"
    columns += [name for name in (ensemble, f"{ensemble}, bias {BIAS}") if name in lines[0]]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(columns)
    for number, column in enumerate(columns):
        heights = [float(by_name[name][column]) for name in hard]
        errors = over_seeds if column == BASELINE else None
        axes.bar(np.arange(len(hard)) + number * width, heights, width, yerr=errors, ecolor="0.4", label=column)
    axes.set_xticks(np.arange(len(hard)) + 0.4 - width / 2, hard, rotation=30, ha="right")
    axes.set_ylabel("recall on the test images")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


TABLES: dict[str, Callable[[], str]] = {
    "summary": summary_table,
    "front": front_table,
    "aims": aims_table,
    "changes": changes_table,
    "payers": payers_table,
    "hard": hard_table,
    "ensembles": ensembles_table,
    "carried": carried_table,
}


def numbers() -> dict[str, str]:
    """Those that the text mentions, by name."""
    lines, found = read("runs.csv"), why()
    names = {}
    for prefix, row in MENTIONED.items():
        if not values(lines, row, "", METRICS[0]):
            continue  # what the text asks of it is refused by name
        if (taken := gains(lines, row)) is not None:
            names[f"{prefix} power"] = shown_power(taken)
            for metric in (*METRICS, *OVER):
                names[f"{prefix} gain of {metric}"] = difference(row, taken, metric)
        names |= {f"{prefix} change of {metric}": difference(row, "", metric) for metric in METRICS}
        for power, how in {"": "", BIAS: " with a bias"}.items():
            names |= {f"{prefix} {metric}{how}": difference(row, power, metric) for metric in OVER}
        for power, how in {"": "", BIAS: " with a bias", **{p: f" with power {p}" for p in ("1", STRONG, "4")}}.items():
            for metric in METRICS:
                if of_seeds := list(values(lines, row, power, metric).values()):
                    names[f"{prefix} {metric}{how}"] = f"{np.mean(of_seeds):.3f}"
                    names[f"{prefix} n"] = str(len(of_seeds))
    hard, everything = found["of_hard_classes"], found["of_all_classes"]
    for name, digits in {"recall": 3, "false_positive_rate": 4}.items():
        names[f"hard {name}"], names[f"all {name}"] = (f"{of[name]:.{digits}f}" for of in (hard, everything))
    names["shared by two runs"] = f"{found['worst_classes_that_two_runs_share']:.1f}"
    names["hard among the worst"] = f"{found['hard_classes_among_the_worst_of_a_run']:.1f}"
    names["rank correlation"] = f"{found['rank_correlation_of_recalls_of_two_runs']:.2f}"
    names["correlation with false positives"] = f"{found['correlation_of_recall_and_false_positive_rate']:.2f}"
    names["seeds"] = str(len(found["seeds"]))
    of_base = [float(line["pass_seconds"]) for line in lines if line["row"] == BASELINE]
    names["seconds of a pass"] = f"{min(of_base):.0f}"
    for n in sorted({len(values(lines, row, "", METRICS[0])) for row in rows_of(lines) if not row.startswith("five")}):
        errors = [compared(row, "") for row in rows_of(lines) if len(values(lines, row, "", METRICS[0])) == n]
        numbers_of = [float(line["worst_decile_recall_error"]) for line in errors if line["row"] != BASELINE]
        names[f"error of worst_decile_recall, n = {n}"] = f"{np.median(numbers_of):.3f}" if numbers_of else "0"
    of_metrics = {metric: list(values(lines, BASELINE, "", metric).values()) for metric in METRICS}
    names |= {
        f"two seeds differ in {metric}": f"{np.std(of, ddof=1) * 2 / np.pi**0.5:.3f}"
        for metric, of in of_metrics.items()
    }
    parts = (_of_classes(lines, found), _of_controllers(), _of_ensembles(), _of_carried())
    return names | {name: value for part in parts for name, value in part.items()}


def _of_classes(lines: Lines, found: dict[str, Any]) -> dict[str, str]:
    """What a bias mends of the hard classes, and what of it other classes pay."""
    names = {}
    hard, everything, worst = found["of_hard_classes"], found["of_all_classes"], found["worst_decile_recall"]
    gap = everything["recall"] - hard["recall"]
    for power in (BIAS, STRONG):
        names[f"share mended by power {power}"] = f"{(hard['with_bias'][power] - hard['recall']) / gap:.0%}"
        names[f"cost of power {power}"] = f"{-float(compared(BASELINE, power)['accuracy']):.3f}"
        own = means(lines, BASELINE, power)[1]
        names[f"more by the test images, power {power}"] = (
            f"{worst['with_bias_fitted_on_the_test_images'][power] - own:.3f}"
        )
    names["hard gap"] = f"{gap:.3f}"
    for name, of in (("hard", hard), ("all", everything)):
        errors = 1 - of["recall"]
        names[f"{name} errors with the right class second"] = f"{(of['among_first_two'] - of['recall']) / errors:.0%}"
        names[f"{name} beyond the first five"] = f"{1 - of['among_first_five']:.0%}"
    halves = found["gain_of_hard_classes_of_half_the_validation_images"]
    names |= {name.replace("_", " "): f"{value:+.3f}" for name, value in halves.items()}
    of_classes = read("recalls.csv")
    before = np.array([float(line[BASELINE]) for line in of_classes])
    is_hard = np.array([line["name"] in {one["name"] for one in found["hard_classes"]} for line in of_classes])
    after = {
        power: np.array([float(line[f"{BASELINE}, bias {power}"]) for line in of_classes]) for power in (BIAS, STRONG)
    }
    next_ten = np.argsort(np.where(is_hard, np.inf, before), kind="stable")[:10]
    for power, recalls in after.items():
        names[f"classes that lose 0.05, power {power}"] = str(int((recalls - before <= -0.05 + 1e-9).sum()))
        names[f"next ten, power {power}"] = f"{(recalls - before)[next_ten].mean():+.3f}"
        still = set(np.argsort(recalls, kind="stable")[:10].tolist()) & set(np.flatnonzero(is_hard).tolist())
        names[f"hard classes still among the worst, power {power}"] = str(len(still))
    lowest = np.sort(before)[:10]
    names["standard error of a worst decile"] = f"{np.sqrt((lowest * (1 - lowest) / 100).sum()) / 10:.3f}"
    return names


def _of_controllers() -> dict[str, str]:
    """What the controllers set in the last epoch."""
    lines = read("class_values.csv")
    levels, weights = (
        np.array([float(line[f"balanced/{column}"]) for line in lines])
        for column in ("cuda, level", "false_positive_weights, weight")
    )
    return {
        "mean level of cuda": f"{levels.mean():.1f}",
        "highest level of cuda": f"{levels.max():.0f}",
        "classes of the largest weight by false positives": f"{(weights >= 2).sum()}",
    }


def _of_ensembles() -> dict[str, str]:
    """Mean logit less mean probability in worst decile, of ensembles without views."""
    lines = [line for line in read("ensembles.csv") if "views" not in line["ensemble"]]
    names = {"number of ensembles": str(len({(line["ensemble"], line["seed"]) for line in lines}))}
    lines = [line for line in lines if line["metric"] == "worst_decile_recall"]
    for power, how in (("", "without a bias"), (BIAS, "with a bias")):
        own = [line for line in lines if line["class_bias_power"] == power]
        numbers = [float(line["difference"]) for line in own]
        names |= {
            f"least difference {how}": f"{min(numbers):+.3f}",
            f"largest difference {how}": f"{max(numbers):+.3f}",
        }
        names[f"mean difference {how}"] = f"{np.mean(numbers):+.3f}"
        zero = sum(float(line["low"]) <= 0 <= float(line["high"]) for line in own)
        names[f"intervals with zero {how}"] = f"{zero} of {len(own)}"
    return names


def _of_carried() -> dict[str, str]:
    names = {}
    for name, folder in CARRIED.items():
        results = DOCS / "results" / folder
        if not results.is_dir():
            continue
        lines = read("runs.csv", results)
        of_classes = [read("recalls.csv", at) for at in (RESULTS, results)]
        if len(of_classes[0]) == len(of_classes[1]):  # the same classes
            recalls = [np.array([float(line[BASELINE]) for line in of]) for of in of_classes]
            worst = [set(np.argsort(of, kind="stable")[:10].tolist()) for of in recalls]
            names[f"{name} shares of the worst"] = str(len(worst[0] & worst[1]))
            names[f"{name} rank correlation"] = f"{spearmanr(*recalls)[0]:.2f}"
        for prefix, row in CARRIED_ROWS.items():
            for power, how in {"": "", BIAS: " with a bias", **{p: f" with power {p}" for p in (STRONG, "4")}}.items():
                for metric in METRICS:
                    if of_seeds := list(values(lines, row, power, metric).values()):
                        names[f"{name} {prefix} {metric}{how}"] = shown(of_seeds)
                        names[f"{name} {prefix} n"] = str(len(of_seeds))
                        if (results / "differences.csv").is_file():
                            names[f"{name} {prefix} change of {metric}{how}"] = difference(row, power, metric, results)
    return names


def written(text: str) -> str:
    """answer.md with its tables and numbers written anew."""
    known = numbers()

    def made(match: re.Match[str]) -> str:
        name = match["name"]
        if name in TABLES:
            return f"<!-- {name} -->\n{TABLES[name]()}\n<!-- end -->"
        if name not in known:
            raise SystemExit(f"answer.md asks for {name}; there are {', '.join((*TABLES, *known))}")
        return f"<!-- {name} -->{known[name]}<!-- end -->"

    return re.sub(r"<!-- (?P<name>[^>]*?) -->.*?<!-- end -->", made, text, flags=re.S)


def main() -> None:
    answer = DOCS / "answer.md"
    answer.write_text(written(answer.read_text()))
    front_figure(RESULTS / "front.png")
    hard_figure(RESULTS / "hard_classes.png")


if __name__ == "__main__":
    main()
