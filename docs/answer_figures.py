"""From the result files to the tables and figures of docs/answer.md: python docs/answer_figures.py

Reads docs/results/balanced/ and the folders of CARRIED, which answer_results.py wrote. Each table and each number of
answer.md stands between two comments, `<!-- NAME -->` and `<!-- end -->`, and is written anew.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

DOCS = Path(__file__).parent
RESULTS = DOCS / "results" / "balanced"
BASELINE = "exp2_tuned"
BIAS = "0.5"  # the power of the tables
# The same recipes unchanged on other images, and with another network.
CARRIED = {"CIFAR-10": "balanced_cifar10", "ResNet-18 from scratch": "balanced_resnet18"}
METRICS = ("accuracy", "worst_decile_recall", "hard_decile_recall")
# Rows of which the text mentions numbers.
MENTIONED = {
    "base": BASELINE,
    "flipped": f"{BASELINE}, views=flip",
    "weighted": "balanced/recall_weights",
    "weighted flipped": "balanced/recall_weights, views=flip",
    "distilled": "balanced/distilled",
    "trusted": "balanced/distilled_by_recall",
    "equal": "balanced/distilled_equal_shares",
    "distilled adjusted": "balanced/distilled_adjusted",
    "five": f"five of {BASELINE}, mean_logit",
    "five weighted": "five of balanced/recall_weights, mean_logit",
    "five weighted flipped": "five of balanced/recall_weights, views=flip, mean_logit",
    "five flipped": f"five of {BASELINE}, views=flip, mean_logit",
}
# By budget: what is done, the row, and the power of its bias.
SUMMARY = (
    ("one training, the plain recipe", BASELINE, ""),
    ("the same, and a class bias afterwards", BASELINE, BIAS),
    ("the same, each test image seen as it is and mirrored, and a bias", f"{BASELINE}, views=flip", BIAS),
    ("one training with weights by validation recall, and a bias", "balanced/recall_weights", BIAS),
    ("the same, two views, and a bias", "balanced/recall_weights, views=flip", BIAS),
    ("five trainings with weights by recall, their mean logit, and a bias", MENTIONED["five weighted"], BIAS),
    ("five plain trainings that teach a sixth, which alone is used, and a bias of power 1", MENTIONED["equal"], "1"),
)
Lines = list[dict[str, str]]
Spread = tuple[float, float | None, int]  # mean, sample standard deviation, n


def read(name: str, results: Path = RESULTS) -> Lines:
    with (results / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_of(lines: Lines) -> list[str]:
    """The rows' names, the baseline first, ensembles last."""
    names = dict.fromkeys(line["row"] for line in lines)
    return sorted(names, key=lambda name: (name.startswith("five"), name.split(",")[0] != BASELINE, name))


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


def shown(numbers: list[float], signed: bool = False) -> str:
    mean, sd, _ = spread(numbers)
    return f"{mean:{'+' if signed else ''}.3f}" + ("" if sd is None else f" ± {sd:.3f}")


def table(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


def summary_table() -> str:
    lines, found = read("runs.csv"), []
    for what, row, power in SUMMARY:
        cells = [list(values(lines, row, power, metric).values()) for metric in METRICS]
        passes = next(line["passes"] for line in lines if line["row"] == row)
        found.append([what, str(len(cells[0])), *map(shown, cells), passes])
    return table(["", "n", "accuracy", "worst decile", "hard decile", "passes"], found)


def front_table() -> str:
    """Each row without and with a class bias; means over its seeds, and the cost."""
    lines = read("runs.csv")
    found = []
    for row in rows_of(lines):
        cells = [row, str(len(values(lines, row, "", "accuracy")))]
        for power in ("", BIAS):
            for metric in METRICS:
                cells.append(shown(list(values(lines, row, power, metric).values())))
        first = next(line for line in lines if line["row"] == row)
        seconds = np.mean([float(line["seconds"]) for line in lines if line["row"] == row])
        found.append([*cells, first["epochs"], f"{seconds / 60:.0f}", first["passes"]])
    names = ["accuracy", "worst decile", "hard decile"]
    bias = [f"{name}, bias" for name in names]
    return table(["row", "n", *names, *bias, "epochs", "minutes", "passes"], found)


def gains(lines: Lines, row: str) -> tuple[str, dict[str, list[float]]] | None:
    """The largest power of the bias whose accuracy on validation images is no less than was asked for, and with it the
    differences of METRICS from the baseline without a bias; None if no power is enough.

    Asked for: the baseline's accuracy less 0.003 of one network, 0.03 more than that of five.
    """
    base = {metric: np.mean(list(values(lines, BASELINE, "", metric).values())) for metric in METRICS}
    own = np.mean(list(values(lines, BASELINE, "", "validation_accuracy").values()))
    least = own + (0.03 if row.startswith("five") else -0.003)
    powers = sorted({line["class_bias_power"] for line in lines}, key=lambda power: float(power or -1))
    of_validation = {p: np.mean(list(values(lines, row, p, "validation_accuracy").values())) for p in powers}
    kept = [power for power in powers if of_validation[power] >= least]
    if not kept:
        return None
    found = {m: [value - base[m] for value in values(lines, row, kept[-1], m).values()] for m in METRICS}
    return f"{float(kept[-1]):g}" if kept[-1] else "no bias", found


def aims_table() -> str:
    lines, found = read("runs.csv"), []
    for row in rows_of(lines):
        cells = [row, str(len(values(lines, row, "", "accuracy")))]
        if (of_row := gains(lines, row)) is not None:
            power, differences = of_row
            cells += [power, *(shown(of_metric, signed=True) for of_metric in differences.values())]
        else:
            cells += ["none is enough", "", "", ""]
        found.append(cells)
    return table(["row", "n", "power", "accuracy", "worst decile", "hard decile"], found)


def carried_table() -> str:
    """The rows of CARRIED, without and with a class bias."""
    found = []
    for name, folder in CARRIED.items():
        if not (DOCS / "results" / folder).is_dir():
            continue
        lines = read("runs.csv", DOCS / "results" / folder)
        for row in rows_of(lines):
            of_row = [
                list(values(lines, row, power, metric).values()) for power in ("", BIAS, "2") for metric in METRICS[:2]
            ]
            found.append([name, row, str(len(of_row[0])), *map(shown, of_row)])
    header = ["accuracy", "worst decile"]
    with_bias = [f"{one}, {bias}" for bias in ("bias", "power 2") for one in header]
    return table(["", "row", "n", *header, *with_bias], found)


def hard_table() -> str:
    found = []
    for one in why()["hard_classes"]:
        taken = ", ".join(f"{name} {share:.2f}" for name, share in one["taken_for"].items())
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
    return table(["ensemble", "number", "class bias", "metric", "mean logit less mean probability"], found)


def why() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "why.json").read_text())
    return found


def front_figure(path: Path) -> None:
    """Accuracy against the worst decile: every row, without a bias (filled) and with one (open), bars: sd."""
    lines = read("runs.csv")
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.add_subplot()
    names = rows_of(lines)
    colours = [f"C{number % 10}" for number in range(len(names))]
    for number, (row, colour) in enumerate(zip(names, colours, strict=True)):
        marker = "osD^vP"[number // 10 % 6]
        ends = []
        for power in ("", BIAS):
            x, y = (
                spread(list(values(lines, row, power, metric).values()))
                for metric in ("accuracy", "worst_decile_recall")
            )
            style = {"mfc": colour if power == "" else "white", "label": row if power == "" else None}
            axes.errorbar(x[0], y[0], xerr=x[1], yerr=y[1], fmt=marker, color=colour, ms=7, lw=0.8, alpha=0.9, **style)
            ends.append((x[0], y[0]))
        axes.plot(*zip(*ends, strict=True), color=colour, lw=0.8, alpha=0.6)
    axes.set_xlabel("accuracy on the test images")
    axes.set_ylabel("mean recall of the worst tenth of the classes")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.set_title(f"Filled: as trained. Open: with a class bias (power {BIAS}). Bars: sd over seeds", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def hard_figure(path: Path) -> None:
    """The recalls of the hard classes: of the baseline, with a bias, and of the best ensemble."""
    lines = read("recalls.csv")
    hard = [one["name"] for one in why()["hard_classes"]]
    by_name = {line["name"]: line for line in lines}
    columns = [BASELINE, f"{BASELINE}, bias {BIAS}"]
    ensemble = f"five of {BASELINE}, mean_logit"
    columns += [name for name in (ensemble, f"{ensemble}, bias {BIAS}") if name in lines[0]]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(columns)
    for number, column in enumerate(columns):
        heights = [float(by_name[name][column]) for name in hard]
        axes.bar(np.arange(len(hard)) + number * width, heights, width, label=column)
    axes.set_xticks(np.arange(len(hard)) + 0.4 - width / 2, hard, rotation=30, ha="right")
    axes.set_ylabel("recall on the test images")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


TABLES: dict[str, Callable[[], str]] = {
    "summary": summary_table,
    "front": front_table,
    "aims": aims_table,
    "hard": hard_table,
    "ensembles": ensembles_table,
    "carried": carried_table,
}


def numbers() -> dict[str, str]:
    """Those that the text mentions, by name."""
    lines, found = read("runs.csv"), why()
    names = {}
    for prefix, row in MENTIONED.items():
        if (of_row := gains(lines, row)) is not None:
            names[f"{prefix} power"] = of_row[0]
            names |= {f"{prefix} gain of {metric}": f"{np.mean(of):+.3f}" for metric, of in of_row[1].items()}
        for power, how in {"": "", BIAS: " with a bias", "1": " with power 1", "2": " with power 2"}.items():
            for metric in METRICS:
                if of_seeds := list(values(lines, row, power, metric).values()):
                    names[f"{prefix} {metric}{how}"] = f"{np.mean(of_seeds):.3f}"
                    names[f"{prefix} n"] = str(len(of_seeds))
    hard, everything = found["of_hard_classes"], found["of_all_classes"]
    for name in ("recall", "among_first_two", "among_first_five", "auroc", "false_positive_rate"):
        digits = 4 if name == "false_positive_rate" else 3
        names[f"hard {name}"], names[f"all {name}"] = (f"{of[name]:.{digits}f}" for of in (hard, everything))
    names["hard recall with a bias"] = f"{hard['with_bias'][BIAS]:.3f}"
    on_test = found["worst_decile_recall"]["with_bias_fitted_on_the_test_images"]
    names["worst decile with a bias fitted on the test images"] = f"{on_test[BIAS]:.3f}"
    names["the same with power 2"] = f"{on_test['2']:.3f}"
    names["shared by two runs"] = f"{found['worst_classes_that_two_runs_share']:.1f}"
    names["hard among the worst"] = f"{found['hard_classes_among_the_worst_of_a_run']:.1f}"
    names["rank correlation"] = f"{found['rank_correlation_of_recalls_of_two_runs']:.2f}"
    names["correlation with false positives"] = f"{found['correlation_of_recall_and_false_positive_rate']:.2f}"
    names["seeds"] = str(len(found["seeds"]))
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
