"""Every plot is drawn completely, whatever the names, however short the training. (A warning fails here.)"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cifar_imbalance.configuration.fields import Plots
from cifar_imbalance.evidence.diversity import ClassGains
from cifar_imbalance.evidence.metrics import class_metrics, confusion_matrix
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report import write
from cifar_imbalance.report.page.charts import intervals_chart
from cifar_imbalance.report.plots import canvas, classes
from cifar_imbalance.report.plots.canvas import name_axis, new_figure, shown_differences
from cifar_imbalance.report.plots.classes import confusion_plot, per_class_plot
from cifar_imbalance.report.plots.comparisons import class_differences_plot, ensemble_plot, side_by_side_plot
from cifar_imbalance.report.plots.curves import curves_plot, learning_rate_plot, member_curves_plot
from cifar_imbalance.report.plots.images import class_counts_plot, image_grid_plot
from cifar_imbalance.report.plots.recalls import recall_by_epoch_plot
from cifar_imbalance.report.plots.searches import front_plot
from cifar_imbalance.report.search import TrialResult
from cifar_imbalance.report.write import write_report

ODD_NAMES = ("$a_b$", "x_{2", "$", "\\frac", "猫", "кошка", "قطة", "🐱", "", "two\nlines", "\x07", "n" * 200)


@pytest.fixture(autouse=True)
def pngs_alone():
    """PDFs would take as long again."""
    canvas.use(Plots(pdf=False))
    yield
    canvas.use(Plots())


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that are saved, in order."""
    figures: list[Figure] = []
    save = FigureCanvasAgg.print_png

    def print_png(self, *arguments, **named):
        figures.append(self.figure)
        return save(self, *arguments, **named)

    monkeypatch.setattr(FigureCanvasAgg, "print_png", print_png)
    return figures


def predictions_of(names: tuple[str, ...], *, absent: int | None = None, per_class: int = 5) -> Predictions:
    classes = len(names)
    generator = np.random.default_rng(0)
    labels = np.repeat([index for index in range(classes) if index != absent], per_class)
    logits = generator.normal(size=(len(labels), classes)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 1.5
    n = len(labels)
    return Predictions(logits, labels, np.arange(n), np.arange(n, dtype=np.uint64), names)


def history_of(epochs: int, *, validation: bool = True) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for epoch in range(1, epochs + 1):
        line: dict[str, object] = {"epoch": epoch, "phase": "train", "lr_start": 0.1 / epoch, "lr_end": 0.09 / epoch}
        line |= {"train_loss": 2.0 / epoch, "train_accuracy": 1 - 0.5 / epoch}
        if validation:
            line |= {"validation_loss": 2.5 / epoch, "validation_accuracy": 1 - 0.6 / epoch}
            line |= {"validation_macro_f1": 1 - 0.7 / epoch, "validation_worst_recall": 0.0}
        lines.append(line)
    return lines


def size_of(path: Path) -> tuple[int, int]:
    """Width and height in pixels of a PNG file."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def tick_names(figure: Figure, axis: str = "y") -> list[str]:
    return [label.get_text() for label in getattr(figure.axes[0], f"get_{axis}ticklabels")()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def draw_all(folder: Path, predictions: Predictions, history: list[dict[str, object]]) -> list[Path]:
    paths = [folder / name for name in ("confusion.png", "per_class.png", "curves.png", "learning_rate.png")]
    confusion_plot(paths[0], confusion_matrix(predictions), predictions.class_names)
    per_class_plot(paths[1], class_metrics(predictions), predictions.class_names)
    curves_plot(paths[2], history, 1)
    learning_rate_plot(paths[3], history, 1)
    return paths


def test_every_plot_is_a_png_and_no_other_files_are_left(tmp_path):
    paths = draw_all(tmp_path, predictions_of(("cat", "dog", "owl")), history_of(3))
    assert all(min(size_of(path)) >= 250 for path in paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_names_of_100_classes_do_not_overlap(tmp_path, drawn):
    predictions = predictions_of(tuple(f"aquarium_fish_{index}" for index in range(100)))
    confusion_plot(tmp_path / "confusion.png", confusion_matrix(predictions), predictions.class_names)
    per_class_plot(tmp_path / "per_class.png", class_metrics(predictions), predictions.class_names)
    assert size_of(tmp_path / "confusion.png")[0] == 1400  # 7 inches at 200 dpi
    for figure in drawn[:2]:
        figure.set_dpi(400)  # so that sizes are hardly rounded to pixels
        figure.draw_without_rendering()
    for figure, axis in ((drawn[0], "x"), (drawn[0], "y"), (drawn[1], "y")):
        boxes = [label.get_window_extent() for label in getattr(figure.axes[0], f"get_{axis}ticklabels")()]
        inches = [(box.x0 / 400, box.x1 / 400) if axis == "x" else (box.y0 / 400, box.y1 / 400) for box in boxes]
        ends = sorted(inches)
        assert len(ends) == 100
        assert all(before[1] <= after[0] for before, after in pairwise(ends))
        assert min(end - start for start, end in ends) >= 0.045  # inches


def test_of_very_many_classes_as_many_are_drawn_as_can_be_seen(tmp_path, drawn, monkeypatch):
    for module in (classes, write):
        monkeypatch.setattr(module, "CELLS_UP_TO", 30)  # instead of 1,000
    predictions = predictions_of(tuple(f"class_{index}" for index in range(100)))
    write_report(tmp_path, predictions, [], chosen_epoch=None, details={})
    confusion, per_class = drawn
    assert confusion.axes[0].images[0].get_array().shape == (25, 25)
    assert tick_names(confusion)[:2] == ["class_0", "class_4"]
    assert confusion._suptitle.get_text() == "Confusion matrix: each row is 4 true classes, named by the first"
    worst = class_metrics(predictions).worst_first[:30]
    assert tick_names(per_class) == [f"class_{index}" for index in worst]
    assert per_class.legends[0].get_title().get_text() == "Recall by class, the 30 worst of 100"


def test_an_axis_names_as_many_classes_as_there_is_room_for():
    axes = new_figure(4, 40).add_subplot()
    names = [f"class_{index}" for index in range(200)]
    for axis, named in (("x", names[::4]), ("y", names)):
        name_axis(axes, axis, names, 8.0, rotation=90)
        assert tick_names(axes.figure, axis) == named


def test_cells_show_shares_that_never_round_to_0_or_1(tmp_path, drawn):
    matrix = np.array([[999, 1], [250, 750]])
    confusion_plot(tmp_path / "confusion.png", matrix, ("cat", "dog"))
    assert texts(drawn[0]) == [">0.99", "<0.01", "0.25", "0.75"]


def test_names_are_drawn_literally_or_by_number_without_a_glyph(tmp_path, drawn):
    predictions = predictions_of(ODD_NAMES)
    draw_all(tmp_path, predictions, history_of(2))
    names = tick_names(drawn[0])
    assert names[:4] == ["$a_b$", "x_{2", "$", "\\frac"]
    assert names[4] in ("猫", "class 4")  # by the machine's fonts
    assert names[5] == "кошка"
    assert names[8:11] == ["class 8", "two lines", "class 10"]
    assert names[11] == "n" * 13 + "…" + "n" * 13
    assert sorted(tick_names(drawn[1])) == sorted(names)


def test_the_worst_class_is_first_and_absent_ones_are_last_and_marked(tmp_path, drawn):
    names = ("cat", "dog", "owl")
    logits = np.array([[5, 0, 0], [0, 5, 0], [5, 0, 0]], np.float32)
    predictions = Predictions(logits, np.array([0, 1, 1]), np.arange(3), np.arange(3, dtype=np.uint64), names)
    per_class_plot(tmp_path / "per_class.png", class_metrics(predictions), names)
    confusion_plot(tmp_path / "confusion.png", confusion_matrix(predictions), names)
    assert tick_names(drawn[0]) == ["dog", "cat", "owl (absent)"]
    assert drawn[0].axes[0].yaxis_inverted()
    assert tick_names(drawn[1]) == ["cat", "dog", "owl (absent)"]


def test_the_training_images_of_each_class_are_on_the_right(tmp_path, drawn):
    predictions = replace(predictions_of(("cat", "dog", "owl")), train_images=np.array([40, 30, 20]))
    metrics = class_metrics(predictions)
    per_class_plot(tmp_path / "per_class.png", metrics, predictions.class_names)
    (right,) = drawn[0].axes[0].child_axes
    counts = [int(label.get_text()) for label in right.get_yticklabels()]
    assert counts == [[40, 30, 20][index] for index in metrics.worst_first]
    assert right.get_ylabel() == "training images"


RECALLS = [np.array([0.2, 0.9, np.nan]), np.array([0.5, 0.4, np.nan])]


def test_recalls_by_epoch_have_a_row_for_each_class_worst_at_the_end_first_and_absent_ones_last(tmp_path, drawn):
    recall_by_epoch_plot(tmp_path / "recalls.png", RECALLS, ("cat", "dog", "owl"), images="test")
    assert tick_names(drawn[0]) == ["dog", "cat", "owl (absent)"]
    (image,) = drawn[0].axes[0].get_images()
    assert image.get_array().filled(-1).tolist() == [[0.9, 0.4], [0.2, 0.5], [-1, -1]]
    assert drawn[0].axes[1].get_ylabel() == "recall on the test images"
    assert image.get_extent() == [0.5, 2.5, 2.5, -0.5]  # epochs count from 1


@pytest.mark.parametrize(("classes", "epochs"), [(2, 1), (100, 200)])
def test_any_number_of_classes_and_epochs_is_drawn(classes, epochs, tmp_path):
    recalls = [np.linspace(0, 1, classes)] * epochs
    names = [f"class_{index}" for index in range(classes)]
    recall_by_epoch_plot(tmp_path / "recalls.png", recalls, names, images="validation")
    assert max(size_of(tmp_path / "recalls.png")) < 6000


def test_the_mean_line_excludes_absent_classes(tmp_path, drawn):
    predictions = predictions_of(tuple("abcdef"), absent=2)
    metrics = class_metrics(predictions)
    per_class_plot(tmp_path / "per_class.png", metrics, predictions.class_names)
    labels = drawn[0].axes[0].get_legend_handles_labels()[1]
    assert f"macro recall {np.nanmean(metrics.recall):.3f}" in labels


def test_curves_are_labelled_by_metric_and_chosen_epoch(tmp_path, drawn):
    curves_plot(tmp_path / "curves.png", history_of(5), 4)
    left, right = (axes.get_legend_handles_labels()[1] for axes in drawn[0].axes)
    assert left == ["training loss", "validation loss", "chosen epoch 4"]
    assert right == [
        "training accuracy",
        "validation accuracy",
        "validation macro F1",
        "validation recall of the worst class",
        "chosen epoch 4",
    ]


def test_one_spike_does_not_flatten_the_losses_and_is_marked_with_its_value(tmp_path, drawn):
    history = history_of(30)
    history[4]["validation_loss"] = 86.0
    curves_plot(tmp_path / "curves.png", history, 4)
    left = drawn[0].axes[0]
    usual = max(line["train_loss"] for line in history)
    assert left.get_ylim()[0] == 0 and left.get_ylim()[1] < 4 * usual
    assert [text.get_text() for text in left.texts] == ["86"]


def test_plots_have_the_chosen_resolution_and_format(tmp_path):
    for name, plots in (("50", Plots(dpi=50)), ("200", Plots(pdf=False)), ("alone", Plots(png=False))):
        canvas.use(plots)
        curves_plot(tmp_path / f"{name}.png", history_of(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["200.png", "50.pdf", "50.png", "alone.pdf"]
    canvas.use(Plots(png=False, pdf=False))
    curves_plot(tmp_path / "none.png", history_of(2))
    assert len(list(tmp_path.iterdir())) == 4
    for dpi, size in ((50, (350, 145)), (200, (1400, 580))):
        with Image.open(tmp_path / f"{dpi}.png") as image:
            assert image.size == size
    content = (tmp_path / "50.pdf").read_bytes()
    assert content.startswith(b"%PDF") and b"/MediaBox [ 0 0 504 208.8 ]" in content  # a page's width, in points


def test_names_that_differ_in_their_middle_alone_stay_different():
    names = [f"{'a' * 20}{middle}{'b' * 20}" for middle in ("one", "two")] + ["plain"]
    assert canvas.tick_names(names) == ["aaaaaaaaaaaaa…bbbbbbbbbbbbb (0)", "aaaaaaaaaaaaa…bbbbbbbbbbbbb (1)", "plain"]
    assert canvas.tick_names(["a common beginning of names 1", "a common beginning of names 2"]) == [
        "a common begi…ng of names 1",
        "a common begi…ng of names 2",
    ]


@pytest.mark.parametrize("classes", [2, 21, 25, 31, 100])
def test_no_title_is_cut_off(tmp_path, drawn, classes):
    confusion_plot(tmp_path / "c.png", np.eye(classes, dtype=np.int64), [f"class number {k}" for k in range(classes)])
    (figure,) = drawn
    figure.canvas.draw()
    box = figure._suptitle.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height


@pytest.mark.parametrize("epochs", [1, 2, 200])
@pytest.mark.parametrize("validation", [True, False])
def test_any_number_of_epochs_is_drawn_and_missing_validation_is_noted(epochs, validation, tmp_path, drawn):
    history = history_of(epochs, validation=validation)
    curves_plot(tmp_path / "curves.png", history, None)
    learning_rate_plot(tmp_path / "learning_rate.png", history)
    assert ("no validation" in texts(drawn[0])) != validation


def test_missing_losses_and_losses_that_are_not_finite_are_skipped(tmp_path, drawn):
    history = history_of(4)
    history[1]["train_loss"] = float("nan")
    history[2]["train_loss"] = None
    curves_plot(tmp_path / "curves.png", history)
    assert list(drawn[0].axes[0].lines[0].get_xdata()) == [1, 4]


def test_the_learning_rate_runs_from_start_to_end_of_each_epoch(tmp_path, drawn):
    history = [{"epoch": 1, "lr_start": 0.0, "lr_end": 0.1}, {"epoch": 2, "lr_start": 0.01, "lr_end": 0.01}]
    learning_rate_plot(tmp_path / "learning_rate.png", history)
    (line,) = drawn[0].axes[0].lines
    assert list(line.get_xdata()) == [0, 1, 1, 2]
    assert list(line.get_ydata()) == [0.0, 0.1, 0.01, 0.01]


def test_each_phase_of_the_schedule_is_a_band_with_its_name(tmp_path, drawn):
    phases = ["burnin", "warmup", "warmup", "flat", "cooldown"]
    history = [{"epoch": k + 1, "phase": name, "lr_start": 0.1, "lr_end": 0.1} for k, name in enumerate(phases)]
    learning_rate_plot(tmp_path / "learning_rate.png", history)
    (axes,) = drawn[0].axes
    assert texts(drawn[0]) == ["burnin", "warmup", "flat", "cooldown"]
    bands = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert bands == [(0, 1), (1, 3), (3, 4), (4, 5)]


def test_in_the_curves_a_phase_is_a_band_around_its_epochs(tmp_path, drawn):
    history = history_of(3)
    history[0]["phase"] = "burnin"
    curves_plot(tmp_path / "curves.png", history)
    for axes in drawn[0].axes:
        assert [text.get_text() for text in axes.texts] == ["burnin", "train"]
        assert [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches] == [
            (0.5, 1.5),
            (1.5, 3.5),
        ]


def test_every_member_has_its_curves_and_its_name(tmp_path, drawn):
    histories = {"a/0": history_of(3), "b/0": history_of(3, validation=False)}
    member_curves_plot(tmp_path / "curves.png", histories)
    losses, accuracies, rates = drawn[0].axes
    assert [len(axes.lines) for axes in (losses, accuracies, rates)] == [3, 3, 2]
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["member a/0", "member b/0"]


def test_the_curves_of_a_single_run_are_not_those_of_members(tmp_path, drawn):
    member_curves_plot(tmp_path / "curves.png", {"a/0": history_of(3)})
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["run"]
    assert drawn[0].get_suptitle().startswith("Training of the run by epoch: ")


@pytest.mark.parametrize("objectives", [["accuracy"], ["accuracy", "macro_f1"]])
def test_the_best_trials_and_their_numbers_are_within_the_frame(tmp_path, drawn, objectives):
    values = [(0.7, 0.1), (0.8, 0.3), (0.9, 0.2), (0.95, 0.6)]
    trials = [
        TrialResult(k, {}, dict(zip(("accuracy", "macro_f1"), found, strict=True)), k == 3, "")
        for k, found in enumerate(values)
    ]
    front_plot(tmp_path / "front.png", trials, trials[3:], objectives)
    axes = drawn[0].axes[0]
    frame = axes.get_window_extent()
    (number,) = [text.get_window_extent() for text in axes.texts]
    assert frame.x0 < number.x0 and number.x1 < frame.x1 and frame.y0 < number.y0 and number.y1 < frame.y1


def test_members_are_named_literally(tmp_path, drawn):
    member_curves_plot(tmp_path / "curves.png", {r"x$\bad$y": history_of(3), "_b": history_of(3)})
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [r"member x$\bad$y", "member _b"]


def gains_of(recalls):
    recalls = np.array(recalls)
    return ClassGains(recalls, recalls + 0.1, 0.5 - recalls / 2, recalls / 3)


def test_a_class_is_a_point_at_its_gain_and_at_its_diversity(tmp_path, drawn):
    names = ("accuracy", "macro_f1", "worst_recall", "worst_decile_recall", "recall_sd")
    sizes = [{"members": count, **dict.fromkeys(names, 0.5)} for count in (1, 1, 2)]
    ensemble_plot(tmp_path / "ensemble.png", sizes, gains_of([0.2, 0.6]), ("cat", "dog"))
    _, gain, diversity = drawn[0].axes[:3]
    assert list(gain.lines[1].get_ydata()) == pytest.approx([0.1, 0.1])
    assert diversity.collections[0].get_offsets().tolist() == [[0.2, pytest.approx(0.4)], [0.6, pytest.approx(0.2)]]
    assert {text.get_text() for text in gain.texts} == {"cat", "dog"}


def test_each_plot_of_an_ensemble_has_its_title_above_and_its_legend_below(tmp_path, drawn):
    names = ("accuracy", "macro_f1", "worst_recall", "worst_decile_recall", "recall_sd")
    sizes = [{"members": count, **dict.fromkeys(names, 0.5)} for count in (1, 2)]
    ensemble_plot(tmp_path / "ensemble.png", sizes, gains_of([0.2, 0.6]), ("cat", "dog"))
    left, middle, right = drawn[0].axes[:3]
    assert [axes.get_title() for axes in (left, middle, right)] == [
        "Metrics by number of members",
        "Gain of each class",
        "Diversity of each class",
    ]
    legend = left.get_legend().get_window_extent()
    assert legend.y1 < left.bbox.y0 and legend.y0 >= 0
    assert left.title.get_window_extent().y0 > left.bbox.y1


def test_images_of_each_class_are_bars_of_their_set_at_whole_counts(tmp_path, drawn):
    counts = {"training": np.array([3, 1, 2]), "test": np.array([1, 1, 1])}
    class_counts_plot(tmp_path / "class_counts.png", counts, ("cat", "dog", "owl"), title="t")
    (axes,) = drawn[0].axes
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [[3, 1, 2], [1, 1, 1]]
    for place in range(3):
        middles = [bars[place].get_x() + bars[place].get_width() / 2 for bars in axes.containers]
        assert np.mean(middles) == pytest.approx(place)
    assert all(tick == round(tick) for tick in axes.get_yticks())
    assert tick_names(drawn[0], "x") == ["cat", "dog", "owl"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training: 6 images", "test: 3 images"]


def test_a_class_with_too_few_images_leaves_cells_of_the_grid_empty(tmp_path, drawn):
    image = np.zeros((4, 4, 3), np.uint8)
    image_grid_plot(tmp_path / "grid.png", [image, image, image, None], 2, title="t", row_names=("cat", "dog"))
    assert [len(axes.images) for axes in drawn[0].axes] == [1, 1, 1, 0]
    assert [text.get_text() for axes in drawn[0].axes for text in axes.texts] == ["cat", "dog"]


def test_names_that_no_font_can_draw_are_told_once(caplog):
    canvas._tell_once.cache_clear()
    no_letter = "\U000f0000"  # of a private use area
    with caplog.at_level("INFO", logger="cifar_imbalance"):
        assert canvas.tick_names([no_letter, "cat", no_letter]) == ["class 0", "cat", "class 2"]
        canvas.tick_names([no_letter])
    (line,) = caplog.messages
    assert line.startswith("no installed font can draw some class names: plots show their numbers")


def test_significant_classes_are_labelled_and_coloured(tmp_path, drawn):
    theirs, ours = np.array([0.2, 0.5, np.nan, 0.9]), np.array([0.6, 0.52, 0.4, 0.3])
    side_by_side_plot(tmp_path / "side.png", theirs, ours, ["gained", "", "", "lost"], tuple("abcd"), title="t")
    (axes,) = drawn[0].axes
    assert {text.get_text() for text in axes.texts} == {"a", "d"}
    _, noise, gained, lost = axes.lines
    assert [line.get_xdata().tolist() for line in (noise, gained, lost)] == [[0.5], [0.2], [0.9]]
    assert [line.get_label() for line in (noise, gained, lost)] == [
        "within noise: 1 class",
        "gained: 1 class",
        "lost: 1 class",
    ]


@pytest.mark.parametrize("history", [[], [{"epoch": 1}], [{"epoch": 1, "lr_start": 0.0, "lr_end": 0.0}]])
def test_a_history_without_rates_or_with_rate_0_is_drawn(history, tmp_path):
    learning_rate_plot(tmp_path / "learning_rate.png", history)
    curves_plot(tmp_path / "curves.png", history)
    for name in ("learning_rate.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_drawing_does_not_change_matplotlibs_global_state(tmp_path):
    before = dict(matplotlib.rcParams)
    draw_all(tmp_path, predictions_of(("cat", "dog")), history_of(2))
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_pdfs_have_embedded_truetype_fonts_and_no_type_3(tmp_path):
    canvas.use(Plots())
    for path in draw_all(tmp_path, predictions_of(("cat", "dog", "кошка")), history_of(2)):
        content = path.with_suffix(".pdf").read_bytes()
        assert b"/FontFile2" in content and b"/Type3" not in content


def test_figures_of_up_to_100_classes_fit_a_paper(tmp_path, drawn):
    for count in (2, 20, 100):
        names = tuple(f"class number {index}" for index in range(count))
        draw_all(tmp_path, predictions_of(names), history_of(30))
        recall_by_epoch_plot(tmp_path / "recalls.png", [np.linspace(0, 1, count)] * 30, names, images="test")
    sizes = [tuple(figure.get_size_inches()) for figure in drawn]
    assert all(canvas.COLUMN <= width <= canvas.PAGE and height < canvas.LONGEST_PAGE + 0.01 for width, height in sizes)


def test_a_long_difference_of_classes_is_drawn_by_its_order_and_verdict(tmp_path, drawn):
    difference = np.array([0.1, -0.2, np.nan, 0.3])
    verdicts = ["", "lost", "", "gained"]
    low, high = difference - 0.1, difference + 0.1
    class_differences_plot(tmp_path / "d.png", difference, low, high, verdicts, tuple("abcd"), title="t")
    (axes,) = drawn[0].axes
    assert tick_names(drawn[0]) == ["b", "a", "d"]
    points = {bars.get_label(): bars[0].get_xydata().tolist() for bars in axes.containers}
    assert points == {
        "within noise: 1 class": [[0.1, 1.0]],
        "gained: 1 class": [[0.3, 2.0]],
        "lost: 1 class": [[-0.2, 0.0]],
    }


def test_an_interval_far_beyond_the_differences_is_cut_off_with_an_arrow(drawn, tmp_path):
    difference, low, high = np.array([-0.1, 0.02]), np.array([-7.0, 0.01]), np.array([6.8, 0.03])
    class_differences_plot(tmp_path / "d.png", difference, low, high, ["", "gained"], ("a", "b"), title="t")
    (axes,) = drawn[0].axes
    assert axes.get_xlim() == (-0.3, 0.3)
    arrows = {line.get_marker(): line.get_xydata().tolist() for line in axes.lines if line.get_marker() in "<>"}
    assert arrows == {"<": [[-0.3, 0.0]], ">": [[0.3, 0.0]]}
    assert axes.get_xlabel().endswith("(an arrow: cut off)")
    chart = intervals_chart(
        "t", [("a", -0.1, -7.0, 6.8), ("b", 0.02, 0.01, 0.03)], ["", "gained"], x="x", note="Lines."
    )
    assert (chart.option["xAxis"]["min"], chart.option["xAxis"]["max"]) == (-0.3, 0.3)
    arrows = [one["data"] for one in chart.option["series"] if one.get("symbol") == "triangle"]
    assert arrows == [[[-0.3, 0]], [[0.3, 0]]]
    assert chart.note == "Lines. An arrow: the interval is cut off."


@pytest.mark.parametrize(
    ("difference", "low", "high", "ends"),
    [
        ([0.02, -0.01], [0.01, -0.02], [0.03, 0.0], (-0.02, 0.03)),  # every interval is shown whole
        ([0.5, -0.2], [-3, -4], [4, 3], (-1, 1)),  # recalls differ by no more
        ([0.0, 0.0], [-9, -9], [9, 9], (-0.05, 0.05)),
        ([0.04], [0.01], [0.08], (0.0, 0.1)),
    ],
)
def test_the_axis_of_differences_has_all_of_them_and_what_fits_of_the_intervals(difference, low, high, ends):
    assert shown_differences(*(np.array(one, dtype=float) for one in (difference, low, high))) == ends
