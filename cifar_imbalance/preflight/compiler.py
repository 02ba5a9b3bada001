"""The TPU's compiler on a machine without a TPU: a process of its own, which alone imports jax, jaxlib and libtpu.

Started by workers.py: `python -m cifar_imbalance.preflight.compiler`, a request as JSON on standard input, the answer
as a line of JSON. torch_xla has an XLA of its own, so that the two do not share a process. libtpu compiles for devices
that are only described (jax.experimental.topologies); jax's own compilations use the same calls, which are not public,
hence the exact versions in pyproject.toml.
"""

from __future__ import annotations

import json
import os
import sys
import time
from math import prod
from pathlib import Path
from typing import Any

from cifar_imbalance.configuration.tpus import Topology
from cifar_imbalance.preflight.program_text import estimated_cycles, hbm_bytes

# With which torch_xla 2.9 starts libtpu (torch_xla/__init__.py), and what it adds on a v5.
TORCH_XLA_FLAGS = (
    "--xla_tpu_use_enhanced_launch_barrier=false",
    "--xla_latency_hiding_scheduler_rerun=1",
    "--xla_tpu_prefer_async_allgather_to_allreduce=true",
    "--xla_tpu_enable_flash_attention=false",
)
V5_FLAGS = ("--xla_enable_async_all_gather=true", "--xla_enable_async_collective_permute=true")
# Without them libtpu asks the network for the machine that it runs on, and only one process may load it.
NO_TPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
MEGACORE = ("v4", "v5p")  # where two TensorCores work as one device


def compiled(program: Path, topology: Topology) -> dict[str, Any]:
    """Compile a traced program, an HloModuleProto, for all cores of `topology`; its inputs' memory is given to outputs.

    Returns what one core needs and does in one execution, or the compiler's `reason` not to compile.
    """
    import numpy as np
    from jax._src.interpreters.mlir import make_ir_context
    from jax._src.lib.mlir import ir
    from jax.errors import JaxRuntimeError
    from jaxlib import xla_client

    devices = described(topology)
    cores = len(devices)
    options = xla_client.CompileOptions()
    options.num_replicas, options.num_partitions = 1, cores
    options.device_assignment = xla_client.DeviceAssignment.create(np.arange(cores).reshape(1, cores))
    build = options.executable_build_options
    build.num_replicas, build.num_partitions = 1, cores
    build.use_spmd_partitioning, build.use_shardy_partitioner = True, False  # torch_xla's shardings are GSPMD's
    build.allow_spmd_sharding_propagation_to_output = [True]  # as in torch_xla
    computation = xla_client.XlaComputation(program.read_bytes())
    with make_ir_context():
        module = ir.Module.parse(xla_client._xla.mlir.xla_computation_to_mlir_module(computation))
        _donate(module, ir)
        started = time.perf_counter()
        try:
            done = devices[0].client.compile(module, xla_client.DeviceList(tuple(devices)), options)
        except JaxRuntimeError as error:
            return {"reason": _first_lines(str(error)), "seconds": time.perf_counter() - started}
    seconds = time.perf_counter() - started
    memory, (hlo,) = done.get_compiled_memory_stats(), done.hlo_modules()
    text = hlo.to_string()
    costs = done.cost_analysis()
    return {
        "reason": None,
        "seconds": seconds,
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "alias_bytes": memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "flops": (costs[0] if isinstance(costs, list) else costs)["flops"],
        "hbm_bytes": hbm_bytes(text),
        "estimated_cycles": estimated_cycles(text),
    }


def described(topology: Topology) -> list[Any]:
    """The devices of `topology`, described to the compiler, as those of one host."""
    from jax.experimental import topologies

    sides = (*topology.sides, 1, 1)[:3]
    options: dict[str, Any] = {"chips_per_host_bounds": sides}
    if topology.generation in MEGACORE:
        options["chip_config_name"] = "megacore"
    return list(topologies.get_topology_desc(topology.name, "tpu", **options).devices)


def counted(program: Path) -> dict[str, Any]:
    """Operations, bytes and bytes of the inputs of a traced program that is not compiled, on all cores together."""
    import jax
    from jaxlib import xla_client
    from jaxlib._hlo import HloModule

    proto = program.read_bytes()
    costs = xla_client._xla.hlo_module_cost_analysis(
        jax.devices("cpu")[0].client, HloModule.from_serialized_hlo_module_proto(proto)
    )
    inputs = xla_client.XlaComputation(proto).program_shape().parameter_shapes()
    return {
        "flops": costs["flops"],
        "bytes": costs["bytes accessed"],
        "argument_bytes": sum(prod(one.dimensions()) * one.numpy_dtype().itemsize for one in inputs),
    }


def _donate(module: Any, ir: Any) -> None:
    """Let every input's memory be used for an output of its size, as torch_xla does for weights that a step updates."""
    (entry,) = [one for one in module.body.operations if one.attributes["sym_name"].value == "main"]
    attributes = entry.attributes["arg_attrs"] if "arg_attrs" in entry.attributes else [{}] * len(entry.type.inputs)
    donated = []
    for place in range(len(entry.type.inputs)):
        own = {one.name: one.attr for one in attributes[place]} if attributes[place] else {}
        donated.append(ir.DictAttr.get({**own, "jax.buffer_donor": ir.BoolAttr.get(True)}))
    entry.attributes["arg_attrs"] = ir.ArrayAttr.get(donated)


def _first_lines(message: str, lines: int = 3) -> str:
    """The beginning of the compiler's message, as one line."""
    return " ".join(line.strip() for line in message.splitlines()[:lines] if line.strip())


def main() -> None:
    request = json.loads(sys.stdin.read())
    os.environ.update(NO_TPU)
    program = Path(request["program"])
    if request["topology"] is None:
        answer = counted(program)
    else:
        topology = Topology(request["topology"])
        flags = (*TORCH_XLA_FLAGS, *(V5_FLAGS if topology.generation.startswith("v5") else ()))
        os.environ["LIBTPU_INIT_ARGS"] = " ".join(flags)
        answer = compiled(program, topology)
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
