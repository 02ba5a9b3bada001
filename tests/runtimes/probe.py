"""Measurements of a runtime for tests, in a separate process: XLA must claim its devices before anything else.

    python probe.py QUESTION ANSWER_FILE OVERRIDES... [+states=ANSWER_FILE] [+change=OVERRIDES]...

The overrides are those of train.py. The answer is a .pt file; `forced` and `exact` need the one that `states` wrote,
`captured` asks the same of each change of the overrides.
"""

import hashlib
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from cifar_imbalance.configuration.checks import checked_train
from cifar_imbalance.configuration.fields import TrainConfig

STEPS = 10


def config_of(overrides):
    """The configuration that train.py would run with these overrides."""
    ConfigStore.instance().store("train_schema", TrainConfig)
    OmegaConf.register_new_resolver("run_folder", lambda *_: "run", replace=True)
    if not any(word.startswith("experiment=") for word in overrides):
        overrides = [*overrides, "experiment=quickstart"]
    with initialize_config_dir(str(Path(__file__).resolve().parents[2] / "conf"), version_base="1.3"):
        composed = compose("train", overrides)
    composed.experiment = "probe"
    return checked_train(composed)


def loop_of(overrides, folder):
    """The loop that train.py would run with these overrides, without its reports."""
    from cifar_imbalance.engine.assembled import make_loop
    from cifar_imbalance.engine.prepared import prepare
    from cifar_imbalance.runs.folder import claim

    config = config_of(overrides)
    return make_loop(config, prepare(config), claim(Path(folder), config, overrides))


def compiled_graphs():
    if "torch_xla" not in sys.modules:
        return 0
    from torch_xla.debug import metrics

    return (metrics.metric_data("CompileTime") or (0,))[0]


def batches(loop):
    """SHA-256 of every batch of the first epoch, as augmented on the device, with its labels."""
    place, to_host = loop.runtime.place_batch, loop.runtime.to_host
    images, labels = loop.training_step.images, loop.training_step.labels
    hashes = []
    plan = loop.plan(0)
    for position in range(len(plan)):
        indices = place(torch.from_numpy(plan.indices[position]))
        draws = {name: place(torch.from_numpy(values[position])) for name, values in plan.draws.items()}
        batch = loop.policy.apply(loop.network.gather(images, indices), draws).contiguous()
        of_batch = labels.index_select(0, indices)
        loop.runtime.end_step()
        sha = hashlib.sha256(to_host(batch).contiguous().numpy().tobytes())
        sha.update(to_host(of_batch).numpy().tobytes())
        hashes.append(sha.hexdigest())
    return hashes


def losses(loop):
    """The losses of the first steps, running free."""
    return run_steps(loop)


def states(loop):
    """The state before each of the first steps, and the loss and gradients of the step."""
    before = []

    def remember(_):
        before.append({name: tensor.detach().clone() for name, tensor in loop.network.module.state_dict().items()})

    gradients = watched_gradients(loop)
    return {"losses": run_steps(loop, remember), "states": before, "gradients": gradients}


def forced(loop, file):
    """The loss and gradients of the first steps, each begun from the state that the answer to `states` has for it."""
    given = torch.load(file, weights_only=True)["states"]
    module, place = loop.network.module, loop.runtime.place

    def take_over(position):
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        for name, tensor in tensors.items():
            tensor.data = place(given[position][name].to(tensor.dtype))

    gradients = watched_gradients(loop)
    return {"losses": run_steps(loop, take_over), "gradients": gradients}


def exact(loop, file):
    """As `forced`, with a network that computes in float64: the reference for rounding errors."""
    loop.network.module.double()
    for name in ("scale", "offset"):
        object.__setattr__(loop.network, name, getattr(loop.network, name).double())
    loop.training_step.update.buffers.update(loop.network.module.named_buffers())  # double() made new ones
    for state in loop.optimizer.state.values():
        state |= {name: value.double() for name, value in state.items() if value.dim()}
    return forced(loop, file)


def stacked(loop):
    """The losses of the first steps of two networks, as one step and alone, and the graphs that an epoch and a second
    one of the stack compiled.
    """
    from cifar_imbalance.engine.stacked_step import StackedStep

    overrides = OmegaConf.load(loop.folder.path / "overrides.yaml")
    loops = [loop, loop_of([*overrides, "seed=1"], loop.folder.path.with_name("second"))]
    plans = [one.plan(0).first(STEPS) for one in loops]
    together, counts = StackedStep([one.training_step for one in loops]), [compiled_graphs()]
    for _ in range(2):
        together.begin_epoch(plans)
        for position in range(STEPS):
            together(position)
        loop.runtime.wait()
        counts.append(compiled_graphs())
    losses = loop.runtime.to_host(together.records)[0].T.tolist()
    return {"together": losses, "alone": [run_steps(one) for one in loops], "compiled": counts}


def captured(loop, *changes):
    """The first step's loss, computed and as torch.compile captures it whole: of each loss, with a teacher, and with
    each of the `changes` of the overrides.
    """
    from cifar_imbalance.configuration import fields
    from cifar_imbalance.engine.step import training_loss
    from cifar_imbalance.library.settings import of_choice
    from cifar_imbalance.methods.losses import LOSSES

    def both(loop, loss, temperature=None):
        loop.training_step.begin_epoch(loop.plan(0).first(1))
        inputs = loop.training_step.inputs(0)
        if temperature is not None:
            inputs[5]["teacher.logits"] = torch.randn(len(inputs[4]), loop.train.labels.max() + 1)
            inputs[6]["teacher_share"] = torch.full_like(inputs[6]["weight"], 0.5)
        settings = of_choice(fields.Loss, "loss", loss, {})
        parts = {"network": loop.network, "policy": loop.policy, "loss": settings, "mixing": loop.config.mixing.name}
        function = partial(training_loss, **parts, temperature=temperature)
        values = []
        for one in (function, torch.compile(function, backend="eager", fullgraph=True, dynamic=False)):
            torch.manual_seed(0)
            values.append(one(*inputs)[0].item())
        torch._dynamo.reset()
        return values

    found = {f"loss={loss}": both(loop, loss) for loss in LOSSES}
    found["teacher"] = both(loop, "cross_entropy", temperature=2.0)
    overrides = OmegaConf.load(loop.folder.path / "overrides.yaml")
    for change in changes:
        groups = tuple(word.partition("=")[0] for word in change.split())  # whose settings do not stay
        kept = [word for word in overrides if not word.startswith(groups)]
        other = loop_of([*kept, *change.split()], loop.folder.path.with_name(change))
        found[change] = both(other, "cross_entropy")
    return found


def watched_gradients(loop):
    seen = []

    def look(*_):
        loop.runtime.wait()  # otherwise XLA would compile a graph for each gradient that is read
        parameters = loop.network.module.named_parameters()
        seen.append({name: loop.runtime.to_host(p.grad).clone().contiguous() for name, p in parameters})

    loop.optimizer.register_step_pre_hook(look)
    return seen


def run_steps(loop, before=lambda position: None):
    loop.training_step.begin_epoch(loop.plan(0).first(STEPS))
    for position in range(STEPS):
        before(position)
        loop.training_step(position)
    loop.runtime.wait()
    return loop.runtime.to_host(loop.training_step.records)[0].tolist()


QUESTIONS = {one.__name__: one for one in (batches, losses, states, forced, exact, stacked, captured)}


if __name__ == "__main__":
    question, answer, *overrides = sys.argv[1:]
    given = [word.partition("=")[2] for word in overrides if word.startswith(("+states=", "+change="))]
    overrides = [word for word in overrides if not word.startswith("+")]
    with TemporaryDirectory() as folder:
        torch.save(QUESTIONS[question](loop_of(overrides, Path(folder) / "run"), *given), answer)
