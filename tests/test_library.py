"""The methods alone: docs/library.md as it stands, and the same numbers as in a run."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_imbalance import library

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "library.md").read_text(), re.S)
COUNTS = [100, 50, 10]


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
    counts = names["counts"]
    assert sorted(counts, reverse=True) == counts.tolist()
    assert counts.max() / counts.min() == pytest.approx(10, abs=0.5)
    assert names["summary"]["accuracy"] > 0.6
    assert names["summary"]["worst_class"]["name"] in map(str, range(10))
    assert (folder / "report" / "report.html").is_file()


def test_the_example_of_lightning_trains(ran):
    pytest.importorskip("lightning")
    names = dict(ran[0])
    (block,) = [block for block in BLOCKS if "import lightning" in block]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers
        exec(block, names)
    assert names["trainer"].state.finished
    assert names["trainer"].global_step == len(names["loader"])


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
    sampler = library.ClassSampler("class_balanced", labels, epochs=1)
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


def test_an_adjustment_is_that_of_evaluate():
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 3
    logits = generator.normal(size=(300, 3)) + np.eye(3)[labels] * 2
    adjust = library.adjustment("logit_adjustment", logits=logits, labels=labels, counts=COUNTS, tau=1.0)
    assert adjust(logits) == pytest.approx(logits - np.log(np.array(COUNTS) / 160), abs=1e-5)


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        (lambda: library.Loss("focall", COUNTS), "name=focall: allowed are cross_entropy, focal, ldam"),
        (lambda: library.Loss("focal", COUNTS, gamma=-1), "focal.gamma=-1.0: allowed is at least 0"),
        (lambda: library.Loss("focal", COUNTS, gama=1), "focal.gama: there is no such field"),
        (lambda: library.Loss("ldam", [3, 0, 1]), "loss=ldam: needs images of every class; class 1 has none"),
        (lambda: library.class_weights("inverse", COUNTS, beta=0.9), "class_weights=beta: allowed are"),
        (lambda: library.long_tailed([0, 1], factor=0.5), "factor=0.5: allowed is at least 1"),
        (lambda: library.adjustment("none", logits=[], labels=[]), "adjust=none: allowed are logit_adjustment"),
    ],
)
def test_mistakes_are_one_line(mistake, line):
    with pytest.raises(library.UsageError) as caught:
        mistake()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_page_has_nothing_of_files_that_are_not_ours(tmp_path):
    (tmp_path / "config.yaml").write_text("password: hunter2\n")
    (tmp_path / "environment.json").write_text('{"token": "hunter2"}')
    library.report(tmp_path / "report", np.eye(4), np.arange(4))
    page = (tmp_path / "report" / "report.html").read_text()
    assert "hunter2" not in page and "How to repeat it" not in page
