"""The methods alone: docs/library.md as it stands, the same numbers as in a run, and one line for each mistake."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from cifar_imbalance import library
from cifar_imbalance.methods.losses import LOSSES

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "library.md").read_text(), re.S)
COUNTS = [100, 50, 10]
LABELS = np.arange(300) % 3
LOGITS = (np.random.default_rng(0).normal(size=(300, 3)) + np.eye(3)[LABELS] * 2).astype(np.float32)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The names that the examples leave behind, and the folder that they ran in."""
    folder = tmp_path_factory.mktemp("library")
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in BLOCKS:
            if "import lightning" in block:
                continue
            exec(block, names)
    return names, folder


def test_the_examples_train_a_network_and_write_its_report(ran):
    names, folder = ran
    assert len(BLOCKS) == 4
    counts = names["counts"].tolist()
    assert sorted(counts, reverse=True) == counts
    assert max(counts) / min(counts) == pytest.approx(10, abs=0.5)
    assert names["metrics"].support.sum() == 300
    assert names["summary"]["accuracy"] > 0.6
    saved = json.loads((folder / "report" / "summary.json").read_text())
    assert names["summary"].items() <= saved.items()
    assert (folder / "report" / "report.html").is_file()


def test_the_example_of_lightning_trains(ran):
    pytest.importorskip("lightning")
    names = dict(ran[0])
    (block,) = [block for block in BLOCKS if "import lightning" in block]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers
        exec(block, names)
    assert names["trainer"].state.finished
    assert names["sampler"].epoch == 4  # Lightning's own call of set_epoch
    assert len(names["classifier"].held_out.compute()[1]) == 300  # of one epoch, the last
    before, after = (
        library.summarize(logits, names["labels"][1500:])["balanced_accuracy"]
        for logits in (names["test"], names["adjust"](names["test"]))
    )
    assert after > before > 0.5


def test_balanced_softmax_is_cross_entropy_of_logits_plus_log_counts():
    logits, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    expected = torch.nn.functional.cross_entropy(logits + torch.tensor(COUNTS).log(), labels)
    assert library.Loss("balanced_softmax", COUNTS)(logits, labels) == pytest.approx(expected.item(), abs=1e-6)


def test_weights_weight_the_loss_as_torchs_own_do():
    logits, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    weight = library.class_weights("inverse", COUNTS)
    assert weight == pytest.approx(torch.tensor([0.01, 0.02, 0.1]) * 3 / 0.13)
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=weight, label_smoothing=0.0)
    assert library.Loss("cross_entropy", COUNTS, weight=weight)(logits, labels) == pytest.approx(expected.item())


def test_the_class_balanced_sampler_draws_each_class_as_often():
    labels = np.repeat([0, 1, 2], [1000, 100, 10])
    sampler = library.ClassSampler("class_balanced", labels, epochs=2)
    drawn = np.bincount(labels[list(sampler)])
    assert drawn.sum() == len(sampler) == 1110
    assert drawn == pytest.approx([370, 370, 370], abs=60)
    first = list(sampler)
    assert first == list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler)


@pytest.mark.parametrize(
    "operators", [{"flip": {"probability": 1.0}}, {"auto_augment": {}, "flip": {"probability": 1.0}}]
)
def test_an_augmentation_takes_uint8_batches(operators):
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    augment = library.Augmentation(height=32, width=32, **operators)
    first = augment(images)
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    if operators.keys() == {"flip"}:
        assert torch.equal(first, images.flip(3).float())
    else:
        assert not torch.equal(augment(images), first)


def test_operators_are_applied_in_the_given_order():
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    operators = {"shift": {"width_fraction": 0.5, "border": "constant", "fill": 9}, "flip": {"probability": 1.0}}
    first = library.Augmentation(height=8, width=8, seed=2, **operators)(images)
    second = library.Augmentation(height=8, width=8, seed=2, order=["shift", "flip"], **operators)(images)
    assert not torch.equal(first, second)
    assert torch.equal(second.flip(3), first.flip(3).flip(3)) or torch.equal(first, second.flip(3))


def test_cuda_augments_the_classes_that_have_a_level():
    images = torch.randint(256, (64, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    augment = library.Augmentation(height=16, width=16, cuda={"probability": 1.0})
    labels = torch.arange(64) % 2
    result = augment(images, labels=labels, levels=[0, 10])
    changed = (result != images).flatten(1).any(dim=1)
    assert not changed[labels == 0].any()
    assert changed[labels == 1].float().mean() > 0.9


def test_class_metrics_are_those_of_scikit_learn():
    metrics = library.class_metrics(torch.from_numpy(LOGITS), LABELS, counts=COUNTS)
    expected = precision_recall_fscore_support(LABELS, LOGITS.argmax(axis=1))
    assert metrics.precision == pytest.approx(expected[0])
    assert metrics.recall == pytest.approx(expected[1])
    assert metrics.f1 == pytest.approx(expected[2])
    assert metrics.support.tolist() == expected[3].tolist() == [100, 100, 100]
    assert metrics.train_images is not None and metrics.train_images.tolist() == COUNTS


def test_a_summary_is_what_a_report_has(tmp_path):
    names = np.array(["a", "b", "c"])
    summary = library.summarize(LOGITS, LABELS, class_names=names, counts=COUNTS)
    assert summary["accuracy"] == np.mean(LOGITS.argmax(axis=1) == LABELS)
    assert summary["groups"]["few"]["classes"] == 1
    assert {true for true, _, _ in summary["most_confused"]} <= set(names)
    written = library.report(tmp_path / "report", LOGITS, LABELS, class_names=names, counts=COUNTS)
    assert summary.items() <= written.items()


def test_batches_are_collected_as_one_array():
    held_out = library.LogitsAndLabels()
    for start in (0, 128, 256):
        logits = torch.from_numpy(LOGITS[start : start + 128]).bfloat16().float().requires_grad_()
        held_out.update(logits, torch.from_numpy(LABELS[start : start + 128]).int())
    logits, labels = held_out.compute()
    assert logits == pytest.approx(LOGITS, abs=0.05)
    assert labels.tolist() == LABELS.tolist()
    held_out.reset()
    held_out.update(torch.zeros(1, 3), torch.tensor([2]))
    assert [values.shape for values in held_out.compute()] == [(1, 3), (1,)]


def test_batches_are_collected_from_all_processes():
    def of_two(tensor, group):
        return [tensor, tensor + 1]

    held_out = library.LogitsAndLabels()
    held_out.dist_sync_fn, held_out.distributed_available_fn = of_two, lambda: True
    held_out.update(torch.zeros(2, 3), torch.tensor([0, 1]))
    logits, labels = held_out.compute()
    assert logits[:, 0].tolist() == [0, 0, 1, 1]
    assert labels.tolist() == [0, 1, 1, 2]


def test_an_adjustment_is_that_of_evaluate():
    adjust = library.adjustment("logit_adjustment", LOGITS, LABELS, counts=COUNTS, tau=1.0)
    expected = LOGITS - np.log(np.array(COUNTS) / 160)
    assert adjust(LOGITS) == pytest.approx(expected, abs=1e-5)
    assert adjust.fitted == {"tau": 1.0}
    without_images = library.adjustment("logit_adjustment", counts=COUNTS, tau=1.0)
    assert without_images(LOGITS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["class_bias", "temperature", "vector_scaling"])
def test_an_adjusted_tensor_stays_a_tensor(name):
    adjust = library.adjustment(name, LOGITS, LABELS)
    found = adjust(torch.from_numpy(LOGITS))
    assert isinstance(found, torch.Tensor)
    assert found.numpy() == pytest.approx(adjust(LOGITS), abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_refuses_labels_of_no_class(name):
    loss, logits = library.Loss(name, COUNTS), torch.from_numpy(LOGITS[:8])
    for wrong in (-100, -1, 3):
        labels = torch.tensor([0, 1, wrong, 0, 1, 2, 0, 1])
        with pytest.raises(library.UsageError, match=r"^labels are in .*: expected 0\.\.2$"):
            loss(logits, labels)


def test_classes_without_images_are_taken_where_they_have_a_meaning():
    assert library.class_weights("inverse", [10, 0, 5]).tolist() == pytest.approx([2 / 3, 0, 4 / 3])
    assert torch.isfinite(library.Loss("focal", [10, 0, 5])(torch.zeros(2, 3), torch.tensor([0, 2])))


# What is typed, and how the line begins; the names are those that GIVEN makes.
MISTAKES = re.findall(
    r"^(\S.*)\n    (.*)$",
    """
library.Loss("focall", C)
    loss=focall (did you mean focal?): allowed are cross_entropy, focal, ldam
library.Loss(["focal"], C, gamma=1)
    loss=['focal'] (did you mean focal?): allowed are
library.Loss("focal", C, gamma=-1)
    focal.gamma=-1.0: allowed is at least 0
library.Loss("focal", C, gamma="a")
    focal.gamma=a: a number is expected
library.Loss("focal", C, gama=1)
    gama (did you mean gamma?): is no setting of loss=focal; allowed are gamma, label_smoothing
library.Loss("focal", C, max_margin=1)
    max_margin: is no setting of loss=focal
library.Loss("focal", C, ldam={})
    ldam: is no setting of loss=focal
library.Loss("gml", C, label_smoothing=0.1)
    label_smoothing: is no setting of loss=gml
library.Loss("ldam", [3, 0, 1])
    loss=ldam: needs images of every class; class 1 has none
library.Loss("ldam", [])
    counts are float64 of shape [0]: expected whole numbers [classes >= 2]
library.Loss("ldam", None)
    counts=None: expected an array of numbers
library.Loss("ldam", [[1], [2, 3]])
    counts are a list that is no array: expected an array of numbers
library.Loss("ldam", [5])
    counts are int64 of shape [1]: expected whole numbers [classes >= 2]
library.Loss("ldam", [1, -1])
    counts are in -1..1: expected at least 0
library.Loss("ldam", [0.5, 1])
    counts are float64 of shape [2]: expected whole numbers
library.Loss("focal", [0, 0])
    counts are in 0..0: expected at least 0, and one class with images
library.Loss("focal", C, weight=[1, 2])
    weight is float32 of shape [2]: expected [classes = 3]
library.Loss("focal", C, weight=[1, 2, -1])
    weight is in -1.0..2.0: expected at least 0
library.Loss("focal", C, weight=[1, 2, np.nan])
    weight is in nan..nan: expected at least 0
library.Loss("focal", C, weight="inverse")
    weight=inverse: expected an array of numbers
library.Loss("gml", C, weight=[1, 2, 3])
    weight: corrects twice, since loss=gml counts the classes of a batch equally already
library.Loss("balanced_softmax", C, weight=[1, 2, 3])
    weight: corrects twice, since loss=balanced_softmax has
loss(z, y)
    logits are a ndarray: expected a tensor
loss(logits[:, :2], labels)
    logits are float32 of shape [6, 2]: expected floating-point numbers [batch, classes = 3]
loss(logits.long(), labels)
    logits are int64 of shape [6, 3]: expected floating-point numbers
loss(logits, labels[:3])
    labels are int64 of shape [3]: expected whole numbers [batch = 6]
loss(logits, logits)
    labels are float32 of shape [6, 3]: expected whole numbers [batch = 6]
loss(logits.to("meta"), labels)
    logits are on meta, the loss is on cpu
library.class_weights("inverse", C, beta=0.9)
    beta: is no setting of class_weights=inverse; allowed are none
library.class_weights("inverse", C, defer=0.5)
    defer: is no setting of class_weights=inverse
library.class_weights("effective_number", C, beta=2)
    effective_number.beta=2.0: allowed is
library.class_weights("inverse", [1, -5])
    counts are in -5..1: expected at least 0
library.ClassSampler("square_root", [], epochs=1)
    labels are float64 of shape [0]: expected whole numbers [images >= 1]
library.ClassSampler("square_root", -y, epochs=1)
    labels=-2: allowed is at least 0
library.ClassSampler("square_root", z, epochs=1)
    labels are float32 of shape [6, 3]: expected whole numbers
library.ClassSampler("square_root", ["a", "b"], epochs=1)
    labels are <U1 of shape [2]: expected numbers
library.ClassSampler("square_root", y, epochs=0)
    epochs=0: allowed is at least 1
library.ClassSampler("square_root", y, epochs=2.5)
    epochs=2.5: a whole number is expected
library.ClassSampler("square_root", y, epochs=1, seed=-1)
    seed=-1: allowed is at least 0
library.ClassSampler("instance", y, epochs=1, defer=0.5)
    defer: is no setting of sampler=instance
sampler.set_epoch(2)
    epoch=2: allowed is at least 0 and less than 2
library.long_tailed(y, factor=0.5)
    factor=0.5: allowed is at least 1
library.long_tailed(y, factor=500)
    dataset.imbalance.factor=500: class 1 would keep none of its images
library.long_tailed([], factor=2)
    labels are float64 of shape [0]: expected whole numbers [images >= 1]
library.long_tailed([0, 0], factor=2)
    labels are all 0: expected those of two classes or more
library.long_tailed([0, 10**12], factor=2)
    labels=1000000000000: allowed is at least 0 and at most 1000000
library.long_tailed(y, factor=2, profile="linear")
    profile=linear: allowed are none, exponential, step
library.Augmentation(height=8, width=8, flipp={})
    flipp: there is no such field (did you mean flip?)
library.Augmentation(height=8, width=8, flip=True)
    flip=True: expected the operator's settings
library.Augmentation(height=8, width=8, flip={"probability": 2})
    flip.probability=2.0: allowed is at least 0 and at most 1
library.Augmentation(height=8, width=8, pad_crop={"padding": 8})
    augmentation.pad_crop.padding=8: must be smaller
library.Augmentation(height=8, width=8, flip={}, order=["cutout"])
    augmentation.order=['cutout']: flip is enabled but missing
library.Augmentation(height=0, width=8)
    height=0: allowed is at least 4
flip(images.float())
    images are float32 of shape [4, 3, 8, 8]: expected uint8 [batch, 3, 8, 8]
flip(images[0])
    images are uint8 of shape [3, 8, 8]: expected uint8
flip(images, labels=y[:4])
    labels: has no effect without cuda
cuda(images)
    cuda: needs the labels of the images and the levels of the classes
cuda(images, labels=y[:4], levels=[0, 1])
    labels are 4, of 0..2: expected 4, one for each image, of 0..1
cuda(images, labels=y[:4], levels=[0, 1, 11])
    levels=11: allowed is at least 0 and at most 10
library.class_metrics(z[:, 0], y)
    logits have shape (6,): expected [images >= 1, classes >= 2]
library.class_metrics(z, y[:5])
    labels have shape (5,): expected [6]
library.class_metrics(z, y + 1)
    labels are in 1..3: expected 0..2
library.class_metrics(z, y - 1)
    labels=-1: allowed is at least 0
library.class_metrics(z, y * 0.5)
    labels are float64 of shape [6]: expected whole numbers
library.class_metrics(z * np.nan, y)
    the logits of 6 of 6 images are not finite
library.class_metrics(z * 1e300, y)
    the logits of 6 of 6 images are not finite
library.class_metrics(z, y, counts=[1, 2])
    counts are int64 of shape [2]: expected whole numbers [classes = 3]
library.summarize(z, y, class_names=["a", "b"])
    class_names=['a', 'b']: expected a list of 3 different names
library.summarize(z, y, class_names=np.array(["a", "b", "b"]))
    class_names=['a' 'b' 'b']: expected a list of 3 different names
library.summarize(z, y, class_names="abc")
    class_names=abc: expected a list of 3 different names
library.report("file", z, y)
    folder=file: expected a folder, or a path where one can be made (File exists)
library.report("file/report", z, y)
    folder=file/report: expected a folder
library.report(5, z, y)
    folder=5: expected a folder
library.report("report", z, y, images=images)
    images are uint8 of shape [4, 3, 8, 8]: expected uint8 [images = 6, height, width, 3]
library.adjustment("none", z, y)
    adjust=none: allowed are logit_adjustment, class_bias
library.adjustment("class_bias")
    adjust=class_bias: needs the logits and the labels of validation images
library.adjustment("class_bias", z, y, tau=1)
    tau: is no setting of adjust=class_bias; allowed are penalty, power
library.adjustment("class_bias", z * np.inf, y)
    the logits of 6 of 6 images are not finite
library.adjustment("logit_adjustment", z, y)
    adjust=logit_adjustment: needs counts
library.adjustment("logit_adjustment", z, y, counts=[1, 0, 2])
    adjust=logit_adjustment: needs the training images of each class
temperature(z[:, :2])
    logits are float32 of shape [6, 2]: expected [images, classes = 3]
temperature(logits[0])
    logits have shape [3]: expected [images, classes = 3]
library.LogitsAndLabels().compute()
    LogitsAndLabels has no batch
library.LogitsAndLabels().update(logits, labels[:2])
    labels are int64 of shape [2]: expected whole numbers [batch = 6]
""",
    re.M,
)
GIVEN = """
import json, sys
import numpy as np, torch
from cifar_imbalance import library
C, y = [100, 50, 10], np.arange(6) % 3
z = np.eye(3, dtype=np.float32)[y]
logits, labels = torch.from_numpy(z), torch.from_numpy(y)
images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
loss, sampler = library.Loss("focal", C), library.ClassSampler("square_root", y, epochs=2)
flip, cuda = (library.Augmentation(height=8, width=8, **{name: {}}) for name in ("flip", "cuda"))
temperature = library.adjustment("temperature", z, y)
open("file", "w").close()
def compiles(name):
    loss = library.Loss(name, C)
    return torch.allclose(torch.compile(loss, fullgraph=True, backend="eager")(logits, labels), loss(logits, labels))
lines = []
for typed in json.load(sys.stdin):
    try:
        lines.append(f"nothing was raised: {eval(typed)}")
    except Exception as error:
        kind = "" if isinstance(error, library.UsageError) else f"{type(error).__name__}: "
        lines.append(kind + str(error))
print(json.dumps(lines))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The line that answers what is typed, in a process without the tests' own checks of types."""
    typed = [*(typed for typed, _ in MISTAKES), *(f"compiles({name!r})" for name in LOSSES)]
    folder = tmp_path_factory.mktemp("mistakes")
    command = [sys.executable, "-W", "ignore", "-c", GIVEN]
    done = subprocess.run(command, input=json.dumps(typed), capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(zip(typed, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("typed", "line"), MISTAKES)
def test_mistakes_are_one_line(answers, typed, line):
    assert answers[typed].startswith(line)
    assert "\n" not in answers[typed]


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_compiles_as_one_graph(answers, name):
    assert answers[f"compiles({name!r})"] == "nothing was raised: True"


def test_a_page_has_nothing_of_files_that_are_not_ours(tmp_path):
    (tmp_path / "config.yaml").write_text("password: hunter2\n")
    (tmp_path / "environment.json").write_text('{"token": "hunter2"}')
    library.report(tmp_path / "report", np.eye(4), np.arange(4))
    page = (tmp_path / "report" / "report.html").read_text()
    assert "hunter2" not in page and "How to repeat it" not in page
