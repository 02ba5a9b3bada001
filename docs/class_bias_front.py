"""The front of class bias of finished runs: python docs/class_bias_front.py RESULTS NAME=RUN [NAME=RUN ...]

For each run the accuracy and the worst classes of its test logits without a bias and with one of each power, fitted on
its validation logits as `evaluate.py adjust=class_bias adjust.class_bias.power=POWER` does: RESULTS/front.csv and .png.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cifar_imbalance.configuration.fields import Adjust, ClassBias
from cifar_imbalance.evidence.adjustment import Given, fit
from cifar_imbalance.evidence.metrics import summarize
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.tables import csv_text
from cifar_imbalance.runs.folder import RunFolder

POWERS = (None, 0.0, 0.25, 0.5, 1.0, 2.0)  # None: no bias
METRICS = ("accuracy", "macro_f1", "worst_decile_recall", "worst_recall", "recall_sd", "loss")


def front(run: RunFolder) -> list[dict[str, float]]:
    test, validation = (Predictions.load(run.checked_predictions(split)) for split in ("test", "validation"))
    found = []
    for power in POWERS:
        adjusted = test
        if power is not None:
            adjusted = fit(Adjust(name="class_bias", class_bias=ClassBias(power=power)), Given(validation))(test)
        summary = summarize(adjusted)
        found.append({name: float(summary[name]) for name in METRICS})
    return found


def main(results: Path, runs: dict[str, Path]) -> None:
    results.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.add_subplot()
    lines = []
    for name, path in runs.items():
        points = front(RunFolder(path))
        names = ["none" if power is None else f"{power:g}" for power in POWERS]
        lines += [
            [name, power, *(f"{point[m]:.4f}" for m in METRICS)] for power, point in zip(names, points, strict=True)
        ]
        x, y = (np.array([point[m] for point in points]) for m in ("accuracy", "worst_decile_recall"))
        (line,) = axes.plot(x[1:], y[1:], "o-", ms=4, label=name)
        axes.plot(x[:2], y[:2], ":", color=line.get_color())
        axes.plot(x[0], y[0], "s", color=line.get_color())
        for power, a, b in zip(names, x, y, strict=True):
            axes.annotate(power, (a, b), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("accuracy on the test images")
    axes.set_ylabel("recall of the worst decile of classes")
    axes.set_title("Class bias by its power (squares: none)", fontsize=10)
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    figure.savefig(results / "front.png", dpi=110)
    (results / "front.csv").write_text(csv_text(["run", "power", *METRICS], lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), {name: Path(path) for name, _, path in (word.partition("=") for word in sys.argv[2:])})
