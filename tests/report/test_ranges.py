"""The ends of the page's axes, and the charts that have them."""

import pytest

from cifar_imbalance.report.page.charts import front_chart, pareto_chart, scatter_chart
from cifar_imbalance.report.page.ranges import linear_range, log_range


@pytest.mark.parametrize(
    ("values", "at_least", "expected"),
    [
        ([0.62, 0.88], 0.0, (0.6, 0.9, 0.1)),
        ([0.9645, 0.9645], 0.05, (0.93, 1.0, 0.01)),
        ([0.0, 0.31], 0.0, (0.0, 0.4, 0.1)),  # a recall of 0 is the end, not -0.1
        ([1.0, 0.75], 0.0, (0.7, 1.0, 0.05)),
        ([-0.2, 0.1], 0.0, (-0.3, 0.2, 0.1)),
        ([1.4, 2.2, float("nan")], 0.0, (1.2, 2.4, 0.2)),
        ([3.0], 0.0, (2.6, 3.4, 0.2)),
        ([0.0], 0.0, (0.0, 0.6, 0.2)),
    ],
)
def test_a_range_has_round_ends_and_room_within_what_a_value_can_be(values, at_least, expected):
    found = linear_range(values, at_least=at_least)
    assert tuple(found.values()) == pytest.approx(expected)


def test_a_logarithmic_range_has_room_at_both_ends():
    assert log_range([0.00077, 0.009, 0.0006]) == pytest.approx({"min": 0.0005, "max": 0.01})
    assert log_range([5e-4, 3e-2]) == pytest.approx({"min": 2e-4, "max": 0.05})
    assert log_range([float("nan")]) == linear_range([]) == {}


def test_the_axes_of_a_front_do_not_leave_what_a_recall_can_be():
    groups = {"none": [(0.97, 0.0), (0.99, 0.2)], "flip": [(0.5, 0.9), (0.99, 1.0)]}
    option = front_chart("Front", groups, x="accuracy", y="hard decile").option
    for axis in ("xAxis", "yAxis"):
        assert option[axis]["min"] >= 0 and option[axis]["max"] <= 1
    assert all(one["clip"] is False for one in option["series"] if one["type"] == "scatter")


def test_no_trial_of_a_front_is_cut_by_the_frame():
    points = [("trial 1", 0.7308, 0.1538), ("trial 2", 1.0, 0.0)]
    option = pareto_chart("Front", points, points, x="accuracy", y="worst decile").option
    assert all(one["clip"] is False for one in option["series"])
    assert (option["xAxis"]["max"], option["yAxis"]["min"]) == (1.0, 0.0)


def test_a_parameter_of_a_logarithmic_scale_is_shown_on_one():
    points = [("trial 1", 0.0008, 0.7), ("trial 2", 0.02, 0.9)]
    of_scale = {log: scatter_chart("By rate", points, x="rate", y="accuracy", log=log).option for log in (True, False)}
    assert of_scale[True]["xAxis"]["type"] == "log"
    assert (of_scale[True]["xAxis"]["min"], of_scale[True]["xAxis"]["max"]) == pytest.approx((0.0005, 0.05))
    assert of_scale[False]["xAxis"]["type"] == of_scale[True]["yAxis"]["type"] == "value"
