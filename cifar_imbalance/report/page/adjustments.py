"""What adjustments of the saved logits would change: accuracy against the worst classes."""

from __future__ import annotations

from collections.abc import Sequence

from cifar_imbalance.configuration.fields import Adjust
from cifar_imbalance.errors import UsageError
from cifar_imbalance.evidence.fronts import STRENGTHS, FrontPoint, adjustment_fronts, as_trained
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.page.charts import BLUE, ORANGE, marked_lines_chart
from cifar_imbalance.report.page.parts import Part
from cifar_imbalance.report.plots.canvas import words
from cifar_imbalance.runs.adjustable import check_adjustment
from cifar_imbalance.runs.folder import RunFolder

COLOURS = {"logit_adjustment": BLUE, "class_bias": ORANGE}


def adjustment_parts(runs: Sequence[RunFolder], validation: Predictions | None, test: Predictions) -> list[Part]:
    """A chart of the fronts of the logits of `runs`; none without logits of validation images."""
    if validation is None:
        return []
    fronts = adjustment_fronts(validation, test, corrected=any(map(_is_corrected, runs)))
    if not fronts:
        return []
    trained = as_trained(test)
    point = ("as trained", trained.accuracy, trained.worst_decile_recall)
    lines = {
        words(name): (COLOURS[name], [_marked(STRENGTHS[name], point) for point in points])
        for name, points in fronts.items()
    }
    if "logit adjustment" in lines:
        lines["logit adjustment"][1].insert(0, point)  # where tau is 0
    note = (
        f"Adjusted logits, fitted on the {len(validation.labels)} validation images, shown on the {len(test.labels)} "
        "test images. Choose a strength by validation images, not by this chart."
    )
    if "logit_adjustment" not in fronts:
        note += " Logit adjustment has nothing to correct here."
    title = "What adjusting the logits would trade"
    fitted = {_marked(STRENGTHS[name], one)[0] for name, points in fronts.items() for one in points if one.fitted}
    axes = {"x": "accuracy", "y": words("worst_decile_recall")}
    return [marked_lines_chart(title, lines, point, **axes, large=fitted, note=note)]


def _marked(strength: str, point: FrontPoint) -> tuple[str, float, float]:
    name = f"{strength} {point.strength:g}" + (" (fitted)" if point.fitted else "")
    return name, point.accuracy, point.worst_decile_recall


def _is_corrected(run: RunFolder) -> bool:
    """Whether training corrected for the classes' frequencies, so that adjusting by them would do so twice."""
    try:
        check_adjustment(Adjust(name="logit_adjustment"), run)
    except UsageError:
        return True
    return False
