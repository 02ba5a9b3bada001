"""A trained model in the formats of other libraries: python -m cifar_imbalance.export ckpt=RUN format=FORMAT."""

import json

import numpy as np
import pytest
import torch

from cifar_imbalance.data.experiment_data import load_experiment_data
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.runs.folder import RunFolder


@pytest.fixture(scope="module")
def images(tiny_run):
    """The run's test images as others read them: float32 of 0..1, [n, 3, height, width]."""
    test = load_experiment_data(RunFolder(tiny_run).read_config().dataset).test
    return torch.from_numpy(test.images.astype(np.float32) / 255).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def saved(tiny_run):
    """The logits that the run saved of them."""
    return torch.from_numpy(Predictions.load(tiny_run / "predictions" / "test.npz").logits)


@pytest.fixture
def exported(typed, tiny_run, tmp_path):
    def export(format_):
        answer = typed(tmp_path, "export", f"ckpt={tiny_run}", f"format={format_}", "output=out")
        assert answer.code == 0, answer.err
        assert answer.err == ""
        assert "largest difference of logits" in answer.out
        names = json.loads((tmp_path / "out" / "classes.json").read_text())
        assert names == list(Predictions.load(tiny_run / "predictions" / "test.npz").class_names)
        return tmp_path / "out"

    return export


@pytest.mark.parametrize("count", [1, 8])
def test_timm_loads_the_folder_with_its_own_transform_settings(exported, tiny_run, images, saved, count):
    import timm
    from timm.data import resolve_model_data_config

    folder = exported("timm")
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    settings = resolve_model_data_config(model)
    side = images.shape[-1]
    assert settings["input_size"] == (3, side, side)
    assert (settings["crop_pct"], settings["interpolation"], settings["crop_mode"]) == (1.0, "bilinear", "squash")
    mean, std = (torch.tensor(settings[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    resized = torch.nn.functional.interpolate(images[:count], (side, side), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert model((resized - mean) / std) == pytest.approx(saved[:count], abs=1e-4)
    assert json.loads((folder / "config.json").read_text())["label_names"][:2] == ["0", "1"]


def test_a_program_of_torch_export_takes_any_number_of_images(exported, images, saved):
    program = torch.export.load(exported("torch") / "model.pt2").module()
    for count in (1, 8):
        assert program(images[:count]).detach() == pytest.approx(saved[:count], abs=1e-4)


def test_onnx_runtime_gives_the_saved_logits(exported, images, saved):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported("onnx") / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 8):
        (logits,) = session.run(["logits"], {"images": images[:count].numpy()})
        assert logits == pytest.approx(saved[:count].numpy(), abs=1e-4)


def test_mistakes_are_one_line_and_leave_no_folder(typed, tiny_run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "classes.json").touch()
    for words, line in {
        ("format=timm",): "ckpt: a value is missing; write ckpt=RUN_FOLDER",
        ("ckpt=empty",): "ckpt=empty: this is not a run folder (there is no config.yaml in it)",
        ("ckpt=[empty]", "format=onnx"): "ckpt=['empty']: a string is expected",
        (f"ckpt={tiny_run}", "format=onnx", "output=full"): (
            "output=full: has classes.json already; choose another folder, or remove it"
        ),
        (f"ckpt={tiny_run}", "format=onx"): "format=onx (did you mean onnx?): allowed are timm, torch, onnx",
    }.items():
        answer = typed(tmp_path, "export", *words)
        assert (answer.code, answer.err) == (2, f"cifar_imbalance.export: {line}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "full"}


def test_a_model_that_timm_alone_does_not_have_is_refused_by_name(typed, tiny_words, tmp_path):
    words = ["model=resnet32", "training.epochs=1", "hydra.run.dir=ours"]
    assert typed(tmp_path, "train", *tiny_words, *words).code == 0
    answer = typed(tmp_path, "export", "ckpt=ours")
    line = "format=timm: timm alone has no resnet32_cifar; allowed are torch, onnx"
    assert (answer.code, answer.err) == (2, f"cifar_imbalance.export: {line}\n")


def test_a_head_that_timm_does_not_have_is_refused_by_name(typed, tiny_words, tmp_path):
    words = ["model.cosine_scale=30", "training.epochs=1", "hydra.run.dir=cosine"]
    assert typed(tmp_path, "train", *tiny_words, *words).code == 0
    answer = typed(tmp_path, "export", "ckpt=cosine")
    line = "format=timm: timm has no such head (model.cosine_scale, model.class_factors); allowed are torch, onnx"
    assert (answer.code, answer.err) == (2, f"cifar_imbalance.export: {line}\n")
    assert typed(tmp_path, "export", "ckpt=cosine", "format=torch").code == 0
