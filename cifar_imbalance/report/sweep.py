"""A sweep as a table: runs grouped by fields, over seeds, beside published results and compared with a baseline."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as students_t

from cifar_imbalance import atomic
from cifar_imbalance.evidence.bootstrap import paired_differences
from cifar_imbalance.evidence.combination import paired
from cifar_imbalance.evidence.metrics import confusion_matrix
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.evidence.significance import TEST_IMAGES_ALONE, paired_test
from cifar_imbalance.report.csv_text import csv_text
from cifar_imbalance.report.groups import (
    GROUPS,
    HARD,
    METRICS,
    Result,
    cell_text,
    hard_decile,
    hard_in_words,
    mean_recalls,
    shown_groups,
)
from cifar_imbalance.report.page.of_sweep import sweep_page
from cifar_imbalance.report.page.parts import Part
from cifar_imbalance.report.page.write import write_page
from cifar_imbalance.report.plots.sweeps import delta_confusion_plot, fronts_plot, recall_by_count_plot
from cifar_imbalance.terminal import count_of_classes

PUBLISHED = Path(__file__).parents[1] / "evidence" / "longtail" / "published.csv"


DRAWN_UP_TO = 20  # groups: the change of the confusions from the baseline, a plot of each


def write_sweep_report(
    folder: Path,
    groups: Mapping[str, Sequence[Result]],
    *,
    group_by: str,
    baseline: str | None,
    origin: Sequence[Part],
) -> str:
    """Write tables, plots and report.html of the groups into `folder`, made if needed; returns the text of the table.

    `baseline` is the name of the group that the others are compared with; None: the first. `origin` are the last parts
    of the page. Raises UsageError if the groups were evaluated on different images.
    """
    baseline = baseline or next(iter(groups))
    results = [result for group in groups.values() for result in group]
    same = paired([result.predictions for result in results], [str(result.run.path) for result in results])
    folder.mkdir(parents=True, exist_ok=True)
    hard = hard_decile(groups[baseline])
    if hard is not None:
        groups = {name: [result.with_hard(hard) for result in group] for name, group in groups.items()}
        results = [result for group in groups.values() for result in group]
    names = results[0].predictions.class_names
    hard_names = [] if hard is None else [names[k] for k in hard]
    rows = {name: _row(group) for name, group in groups.items()}
    published = _published(groups)
    columns = list(next(iter(rows.values())))
    cells = [[name, *(row[column] for column in columns)] for name, row in rows.items()]
    atomic.write_text(
        folder / "sweep.csv", csv_text([group_by, *columns], [[_digits(c) for c in row] for row in cells])
    )
    atomic.write_text(folder / "classes.csv", _classes_csv(groups))
    ordered = dict(zip(map(id, results), same, strict=True))
    compared = {
        name: _compared([(r, ordered[id(r)]) for r in groups[baseline]], [(r, ordered[id(r)]) for r in group])
        for name, group in groups.items()
        if name != baseline
    }
    atomic.write_text(folder / "differences.csv", _differences_csv(compared, baseline, group_by))
    text = _text(rows, published, compared, baseline, group_by, hard_names)
    atomic.write_text(folder / "sweep.txt", text)
    page = sweep_page(groups, rows, published, compared, baseline, group_by, text, hard_names, origin)
    write_page(folder / "report.html", page)
    points = {
        name: [(result.metrics["accuracy"], result.metrics["worst_decile_recall"]) for result in group]
        for name, group in groups.items()
    }
    fronts_plot(folder / "accuracy_worst_decile.png", points)
    counts = results[0].predictions.train_images
    if counts is not None and len(set(counts)) > 1:
        recalls = {name: mean_recalls(group) for name, group in groups.items()}
        recall_by_count_plot(folder / "recall_by_count.png", recalls, counts)
    class_names = results[0].predictions.class_names
    matrices = {name: _mean_confusion(group) for name, group in groups.items()}
    for name in compared if len(groups) <= DRAWN_UP_TO else ():
        file = folder / f"delta_confusion_{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.png"
        title = f"{name} less {baseline}"
        delta_confusion_plot(file, matrices[name] - matrices[baseline], class_names, title=title)
    return text


def _row(group: Sequence[Result]) -> dict[str, float | int | None]:
    """n, and of each metric the mean and the sample standard deviation over the runs; then what else they cost."""
    row: dict[str, float | int | None] = {"n": len(group)}
    for name in (*METRICS, *(name for name in (HARD, *GROUPS) if name in group[0].metrics)):
        values = np.array([result.metrics[name] for result in group])
        row[name] = float(values.mean())
        row[f"{name}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
    recalls = np.stack([result.recalls for result in group])
    row["worst_recall_of_the_mean"] = float(np.nanmin(recalls.mean(axis=0)))
    row["class_sd"] = float(np.nanmean(recalls.std(axis=0, ddof=1))) if len(group) > 1 else None
    gains = [result.best_minus_last for result in group if result.best_minus_last is not None]
    row["best_minus_last"] = float(np.mean(gains)) if gains else None
    row["parameters"] = group[0].parameters
    row["seconds"] = float(np.mean([result.seconds for result in group]))
    for name in ("tau", "temperature"):
        numbers = [result.adjusted_by[name] for result in group if name in result.adjusted_by]
        row[name] = float(np.mean(numbers)) if numbers else None
    return row


def _mean_confusion(group: Sequence[Result]) -> NDArray[np.float64]:
    """Shares of each true class [K, K], the mean over the runs."""
    matrices = [confusion_matrix(result.predictions).astype(np.float64) for result in group]
    return np.asarray(np.mean([matrix / matrix.sum(axis=1, keepdims=True).clip(min=1) for matrix in matrices], axis=0))


Run = tuple[Result, Predictions]  # the predictions in the order of the first run's images


def _compared(baseline: Sequence[Run], group: Sequence[Run]) -> dict[str, Any]:
    """The differences group - baseline of runs of the same seed; none if a seed occurs twice in either.

    For each metric: their mean, n, and the 95 % interval of Student's t over the seeds; the interval by bootstrap over
    the test images, of the first seed; and the classes gained and lost in every seed by McNemar's test.
    """
    found: dict[str, Any] = {"n": 0, "differences": {}, "gained": [], "lost": []}
    found["twice"] = any(len({result.seed for result, _ in runs}) < len(runs) for runs in (baseline, group))
    of_seed = {result.seed: (result, predictions) for result, predictions in baseline}
    pairs = [(of_seed[result.seed], (result, predictions)) for result, predictions in group if result.seed in of_seed]
    if found["twice"] or not pairs:
        return found
    found["n"] = len(pairs)
    for name in (*METRICS[:4], HARD):
        if name not in pairs[0][0][0].metrics:
            continue
        values = np.array([theirs[0].metrics[name] - own[0].metrics[name] for own, theirs in pairs])
        half = None
        if len(values) > 1:
            half = float(students_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
        found["differences"][name] = (float(values.mean()), half)
    (_, first), (_, second) = pairs[0]
    found["images"] = paired_differences(
        first.labels, first.predicted == first.labels, second.predicted == second.labels
    )
    tests = [paired_test(own[1], theirs[1]) for own, theirs in pairs]
    beyond = np.all([test.beyond_noise for test in tests], axis=0)
    gain = np.array([test.only_second - test.only_first for test in tests])
    names = first.class_names
    found["gained"] = [names[k] for k in np.flatnonzero(beyond & (gain > 0).all(axis=0))]
    found["lost"] = [names[k] for k in np.flatnonzero(beyond & (gain < 0).all(axis=0))]
    return found


def _published(groups: Mapping[str, Sequence[Result]]) -> list[dict[str, str]]:
    """The published rows of this data set and imbalance, if all groups have the same."""
    kinds = set()
    for group in groups.values():
        dataset = group[0].run.read_config().dataset
        kinds.add((dataset.name, dataset.imbalance.profile, f"{dataset.imbalance.factor:g}"))
    if len(kinds) != 1:
        return []
    with PUBLISHED.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (kind,) = kinds
    return [row for row in rows if (row["dataset"], row["profile"], row["factor"]) == kind]


def _text(
    rows: Mapping[str, Mapping[str, Any]],
    published: Sequence[Mapping[str, str]],
    compared: Mapping[str, Mapping[str, Any]],
    baseline: str,
    group_by: str,
    hard_names: Sequence[str],
) -> str:
    first = next(iter(rows.values()))
    shown = ["n", *METRICS[:4], *([HARD] if HARD in first else []), *shown_groups(first)]
    shown += ["best_minus_last"] if any(row["best_minus_last"] is not None for row in rows.values()) else []
    shown += ["parameters", "seconds"]
    heads = {"worst_decile_recall": "worst_decile", "worst_recall": "worst_class", HARD: "hard_decile"}
    heads |= {"best_minus_last": "best-last"}
    cells = [[group_by, *(heads.get(name, name) for name in shown)]]
    for name, row in rows.items():
        cells.append([name, *(cell_text(row, column) for column in shown)])
    lines = [
        "Means over the runs of a group, ± the sample standard deviation; accuracy is that of the reported epoch.",
        "",
    ]
    lines += _columns(cells)
    if hard_names:
        lines += ["", hard_in_words(baseline, hard_names)]
    if published:
        lines += ["", "Published and repeated, in per cent of accuracy:", ""]
        lines += _columns(
            [["method", "accuracy", "epoch", "n", "recipe", "source"]]
            + [[row[k] or "-" for k in ("method", "accuracy", "epoch", "n", "recipe", "source")] for row in published],
            left=(0, 4, 5),
        )
    if compared:
        lines += ["", f"Differences from {baseline}, of runs of the same seed (baseline=GROUP chooses another group):"]
    for name, found in compared.items():
        if found["twice"]:
            why = "several of its runs have the same seed; add to group_by the field in which they differ"
            lines += [f"{name}: not compared, since {why}"]
            continue
        if not found["n"]:
            lines += [f"{name}: no run has a seed of {baseline}"]
            continue
        parts = []
        for metric, (mean, half) in found["differences"].items():
            parts.append(f"{heads.get(metric, metric)} {mean:+.4f}" + ("" if half is None else f" ± {half:.4f}"))
        one = found["n"] == 1
        lines += [f"{name}, {found['n']} {'seed' if one else 'seeds'} in common: {', '.join(parts)}"]
        _, low, high = found["images"]["accuracy"]
        first_seed = "" if one else ", first seed"
        lines += [f"  accuracy, 95 % interval over the test images{first_seed}: {low:+.4f} to {high:+.4f}"]
        for word in ("gained", "lost"):
            listed = ", ".join(found[word])
            every = "" if one else " in every seed"
            lines += [f"  {word}{every}: {count_of_classes(len(found[word]))}" + (f": {listed}" if listed else "")]
    if any(found["n"] > 1 for found in compared.values()):
        lines += ["", "± of a difference: 95 % interval of Student's t over the seeds."]
    if any(found["n"] for found in compared.values()):
        lines += ["", TEST_IMAGES_ALONE]
    return "\n".join(lines) + "\n"


def _columns(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _classes_csv(groups: Mapping[str, Sequence[Result]]) -> str:
    """For each class its training images, and the mean and standard deviation of its recall in each group."""
    first = next(iter(groups.values()))[0].predictions
    counts = first.train_images
    columns: dict[str, NDArray[np.float64]] = {}
    for name, group in groups.items():
        recalls = np.stack([result.recalls for result in group])
        columns[name] = recalls.mean(axis=0)
        if len(group) > 1:
            columns[f"{name} sd"] = recalls.std(axis=0, ddof=1)
    rows = [
        [k, name, "" if counts is None else counts[k], *(_digits(column[k]) for column in columns.values())]
        for k, name in enumerate(first.class_names)
    ]
    return csv_text(["class", "name", "train_images", *columns], rows)


def _differences_csv(compared: Mapping[str, Mapping[str, Any]], baseline: str, group_by: str) -> str:
    rows = []
    for name, found in compared.items():
        for metric, (mean, half) in found["differences"].items():
            images = found["images"].get(metric, [None, None, None])
            cells = [mean, half, *images]
            rows.append([name, baseline, metric, found["n"], *map(_digits, cells)])
    header = [group_by, "baseline", "metric", "n", "difference", "interval_over_seeds"]
    return csv_text([*header, "difference_of_first_seed", "low_over_images", "high_over_images"], rows)


def _digits(value: object) -> object:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
