"""What a test wants to know of a runtime, asked in a process of its own: XLA takes its devices once, before all else.

    python probe.py QUESTION ANSWER_FILE OVERRIDES...

The overrides are those of train.py. The answer is a .pt file.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from cifar_imbalance.checks import checked_train
from cifar_imbalance.config import TrainConfig


def loop_of(overrides, folder):
    """The loop that train.py would run with these overrides, without its reports."""
    from cifar_imbalance.augment.policy import Policy
    from cifar_imbalance.data.experiment_data import load_experiment_data
    from cifar_imbalance.engine.experiment import make_loop
    from cifar_imbalance.models.build import build_model
    from cifar_imbalance.run_folder import take
    from cifar_imbalance.runtimes.select import make_runtime

    ConfigStore.instance().store("train_schema", TrainConfig)
    OmegaConf.register_new_resolver("run_folder", lambda resume, fresh: fresh, replace=True)
    with initialize_config_dir(str(Path(__file__).resolve().parents[2] / "conf"), version_base="1.3"):
        composed = compose("train", overrides)
    composed.experiment = "probe"
    config = checked_train(composed)
    runtime = make_runtime(config.runtime)
    data = load_experiment_data(config.dataset)
    height, width = data.train.images.shape[1:3]
    policy = Policy(config.augmentation, height=height, width=width)
    built = build_model(
        config.model, class_count=len(data.train.class_names), image_size=(height, width), seed=config.seed
    )
    return make_loop(config, runtime, take(Path(folder), config, overrides), data, policy, built, None)


def graphs(loop):
    """How many graphs were compiled before the first epoch and in each, and which aten counters grew within one."""
    from rich.console import Console
    from torch_xla.debug import metrics

    def compiled():
        return (metrics.metric_data("CompileTime") or (0,))[0]

    def aten():
        return {name: metrics.counter_value(name) for name in metrics.counter_names() if name.startswith("aten::")}

    counts, grown = [compiled()], []
    train_epoch, validate = loop._train_epoch, loop._validate

    def counted_train(*arguments):
        before = aten()
        line = train_epoch(*arguments)
        grown.extend(name for name, value in aten().items() if value != before.get(name, 0))
        counts.append(compiled())
        return line

    def counted_validate():
        line = validate()
        counts.append(compiled())
        return line

    loop._train_epoch, loop._validate = counted_train, counted_validate
    loop.run(Console(quiet=True))
    return {"compiled": counts, "aten_grown_within_an_epoch": grown}


def losses(loop, steps=10):
    """The losses of the first steps, and a hash of every batch of the epoch."""
    batches, step = [], loop.training_step._loss

    def watched(parameters, buffers, images, labels, indices, draws):
        batch = loop.policy.apply(loop.network.gather(images, indices), draws)
        batches.append((loop.runtime.to_host(batch), loop.runtime.to_host(labels.index_select(0, indices))))
        return step(parameters, buffers, images, labels, indices, draws)

    loop.training_step._loss = watched
    return {"losses": run_steps(loop, steps), "batches": batches}


def run_steps(loop, steps, before=lambda position: None):
    from cifar_imbalance import keys
    from cifar_imbalance.samplers import instance_order
    from cifar_imbalance.schedules import learning_rates

    config, batch = loop.config, loop.config.training.batch_size
    count = len(loop.train.labels)
    order = torch.from_numpy(instance_order(config.seed, 0, image_count=count, batch_size=batch))
    draws = loop.policy.draw(config.seed, 0, steps=len(order), batch=batch)
    rates = learning_rates(config.schedule, epoch=0, steps_per_epoch=len(order), epochs=config.training.epochs)
    loop.training_step.begin_epoch(len(order))
    for i in range(steps):
        before(i)
        loop.training_step(
            i,
            order[i],
            {name: torch.from_numpy(values[i]) for name, values in draws.items()},
            learning_rate=float(rates[i]),
            noise_seed=keys.integer(config.seed, "noise", 0, i),
        )
    loop.runtime.wait()
    return loop.runtime.to_host(loop.training_step.records)[0, :steps].tolist()


QUESTIONS = {"graphs": graphs, "losses": losses}


if __name__ == "__main__":
    question, answer, *overrides = sys.argv[1:]
    with TemporaryDirectory() as folder:
        torch.save(QUESTIONS[question](loop_of(overrides, Path(folder) / "run")), answer)
