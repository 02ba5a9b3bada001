"""Pure functions that torch_xla traces once.

torch_xla traces every operation of every step anew before XLA looks the step's graph up, which on XLA's CPU client
takes longer than running it. A function that is traced once is a computation of its own: each call is one node of the
step's graph, which XLA inlines. The arithmetic is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor


class TracedOnce:
    """A function of tensors, then of hashable settings, that gives a tuple of tensors and depends on nothing else.

    On XLA devices it is traced once for each combination of shapes, types and settings; elsewhere, and inside
    torch.func.vmap, it is called.
    Gradients do not flow through it.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], name: str) -> None:
        self._function = function
        self._name = f"xla::{name}"
        self._computations: dict[Hashable, Callable[[Sequence[Tensor]], list[Tensor]]] = {}

    def __call__(self, tensors: Sequence[Tensor], *settings: Hashable) -> Sequence[Tensor]:
        if tensors[0].device.type != "xla" or any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)):
            return self._function(*tensors, *settings)
        key = (tuple((tensor.shape, tensor.dtype) for tensor in tensors), settings)
        if key not in self._computations:
            self._computations[key] = self._traced(tensors, settings)
        return self._computations[key](tensors)

    def _traced(self, tensors: Sequence[Tensor], settings: Sequence[Hashable]) -> Callable[..., list[Tensor]]:
        import torch_xla
        import torch_xla.core.xla_builder as builder

        placeholders = [builder.create_placeholder_tensor(tensor.shape, tensor.dtype) for tensor in tensors]
        with torch.no_grad():
            outputs = self._function(*placeholders, *settings)
        context = torch_xla._XLAC.lowering.LoweringContext(self._name)
        context.set_name_string(self._name)
        context.build(list(outputs))
        computation = builder.computation_from_module_proto(self._name, context.hlo())
        arguments = {context.tensor_parameter_id(one): number for number, one in enumerate(placeholders)}
        constants: dict[int, Tensor] = context.device_parameter_id_tensor_mapping()  # such as an optimiser's betas

        def call(tensors: Sequence[Tensor]) -> list[Tensor]:
            inputs: list[Any] = [
                tensors[arguments[parameter]] if parameter in arguments else constants[parameter]
                for parameter in range(len(constants))
            ]
            return torch_xla._XLAC._xla_user_computation(self._name, inputs, computation)

        return call
