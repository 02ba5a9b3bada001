"""The formats of an export: each writes into a folder and reads back, by the library that others will use."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cifar_imbalance.configuration.installed import installing
from cifar_imbalance.engine.reported import Rebuilt
from cifar_imbalance.errors import UsageError
from cifar_imbalance.export.deployed import Deployed

# Images of 0..1 in, logits out.
Read = Callable[[Float[Tensor, "batch 3 height width"]], Float[Tensor, "batch classes"]]
EXAMPLES = 2  # images; one would become a constant of the graph


def to_timm(reported: Rebuilt, folder: Path) -> Read:
    """config.json and model.safetensors: `timm.create_model("local-dir:FOLDER", pretrained=True)`.

    The images are resized and normalised by whoever uses it, as timm.data.create_transform does from config.json.
    """
    import timm
    from timm.models import save_for_hf

    built = reported.built
    data: dict[str, Any] = {"input_size": (3, *built.input_size), "mean": built.mean, "std": built.std}
    # timm's own would crop other people's images; "squash" resizes both sides, whatever the aspect ratio.
    data |= {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"}
    settings = {"label_names": reported.class_names, "num_classes": len(reported.class_names)}
    save_for_hf(built.module, str(folder), settings, safe_serialization=True, data_config=data)
    (folder / "model.safetensors").chmod((folder / "config.json").stat().st_mode)  # it is written for its owner alone
    found = timm.create_model(f"local-dir:{folder.resolve()}", pretrained=True).eval()
    return torch.no_grad()(Deployed(replace(built, module=found)))


def to_torch(reported: Rebuilt, folder: Path) -> Read:
    """model.pt2, a program of torch.export for any number of images: `torch.export.load(FILE).module()`."""
    file = folder / "model.pt2"
    torch.export.save(_program(reported), str(file))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch's own reading
        program = torch.export.load(str(file))
    return torch.no_grad()(program.module())


def to_onnx(reported: Rebuilt, folder: Path) -> Read:
    """model.onnx, for any number of images: input `images`, output `logits`."""
    try:
        import onnxruntime
        import onnxscript as onnxscript
    except ImportError as error:
        line = f"format=onnx: {error.name} is not installed; {installing('onnx')} installs it"
        raise UsageError(line) from error

    file = folder / "model.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of its own operators
    torch.onnx.export(
        _program(reported),
        f=str(file),
        dynamo=True,
        external_data=False,
        input_names=["images"],
        output_names=["logits"],
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _program(reported: Rebuilt) -> torch.export.ExportedProgram:
    example = torch.rand(EXAMPLES, 3, *reported.image_size)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(Deployed(reported.built).eval(), (example,), dynamic_shapes=({0: batch},))


FORMATS: dict[str, Callable[[Rebuilt, Path], Read]] = {"timm": to_timm, "torch": to_torch, "onnx": to_onnx}
