"""The summary of a network's layers, model.txt."""

from __future__ import annotations

import copy

import torch
import torchinfo
from torchinfo.enums import Units

from cifar_imbalance.configuration import fields
from cifar_imbalance.models.build import BuiltModel
from cifar_imbalance.models.freezing import set_trainable


def model_summary(built: BuiltModel, model: fields.Model, batch_size: int) -> tuple[str, str]:
    """The network's layers with shapes for one image and parameter counts, and the cost of a batch; and one line.

    Layers that `model` freezes count as not trainable. Works on a copy, so modes, batch norm statistics and random
    state are unchanged.
    """
    module = copy.deepcopy(built.module)
    set_trainable(module, model, head_only=False)
    statistics = torchinfo.summary(
        module,
        input_data=torch.zeros(1, 3, *built.input_size),
        depth=3,
        col_names=("input_size", "output_size", "num_params"),
        row_settings=("depth", "var_names"),
        mode="eval",
        device="cpu",
        verbose=0,
    )
    layers = str(statistics)
    for unit in Units:  # torchinfo 1.8 prints the enum's name since Python 3.11
        layers = layers.replace(str(unit), unit.value)
    height, width = built.input_size
    line = (
        f"{model.name}: {statistics.total_params:,} parameters, {statistics.trainable_params:,} of them trained, "
        f"input {height} x {width}"
    )
    text = (
        f"{layers}\n"
        f"Shapes, mult-adds and sizes above are for one image of {height} x {width} pixels.\n"
        f"A forward pass of a batch of {batch_size}: {statistics.total_mult_adds * batch_size / 1e9:.2f} G mult-adds, "
        f"{statistics.total_output_bytes * batch_size / 1e6:.0f} MB of layer outputs.\n"
    )
    return text, line
