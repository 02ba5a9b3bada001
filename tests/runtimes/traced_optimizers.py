"""Whether steps that are traced once equal torch's own bit for bit, and how many graphs both take.

    python traced_optimizers.py DEVICES

In a process of its own, as XLA must claim its devices first.
"""

import json
import sys

import torch
from torch import nn
from torch_xla.debug import metrics

from cifar_imbalance.configuration.fields import Optimizer, Runtime
from cifar_imbalance.methods.optimizers import OPTIMIZERS, fresh_state, load_state, make_optimizer
from cifar_imbalance.runtimes.select import make_runtime

STEPS = 4


def after_steps(runtime, name, traced):
    """Parameters and state after some steps of changing rates, the steps that a hook saw, and the graphs compiled."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    config = Optimizer(name=name, weight_decay=0.1)
    state = fresh_state(module, config)
    module = runtime.place_model(module)
    optimizer = make_optimizer(
        module,
        config,
        learning_rate=runtime.learning_rate(runtime.place(torch.tensor(0.1))),
        variant=runtime.optimizer_variant(),
    )
    load_state(optimizer, state, runtime.place)
    if traced:
        runtime.prepare_optimizer(optimizer)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(1))
    images = runtime.place_batch(torch.randn(8, 5))
    before = (metrics.metric_data("CompileTime") or (0,))[0]
    for step in range(STEPS):
        module(images).square().mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = runtime.learning_rate(runtime.place(torch.tensor(0.01 + 0.01 * step)))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        runtime.end_step()
    runtime.wait()
    graphs = metrics.metric_data("CompileTime")[0] - before
    states = [value for one in module.parameters() for value in optimizer.state[one].values()]
    tensors = [*module.parameters(), *(value for value in states if isinstance(value, torch.Tensor))]
    return [runtime.to_host(tensor) for tensor in tensors], len(seen), graphs


def main(devices):
    runtime = make_runtime(Runtime(name="xla", devices=devices))
    answer = {}
    for name in OPTIMIZERS:
        (plain, *_), (traced, *seen) = (after_steps(runtime, name, traced) for traced in (False, True))
        answer[name] = [all(map(torch.equal, plain, traced)), *seen]
    print(json.dumps(answer))


if __name__ == "__main__":
    main(int(sys.argv[1]))
