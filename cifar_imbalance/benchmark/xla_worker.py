"""The bare step or the loop on XLA's own device; started by workers.py."""

import json
import sys

from omegaconf import OmegaConf

from cifar_imbalance.benchmark.steps import bare_step, whole_loop
from cifar_imbalance.configuration.fields import BenchmarkConfig
from cifar_imbalance.runtimes.select import make_runtime

ROWS = {"xla_step": bare_step, "xla_loop": whole_loop}


def main() -> None:
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(BenchmarkConfig), json.loads(input())))
    assert isinstance(config, BenchmarkConfig)
    config.runtime.name = "xla"
    config.runtime.compile = False  # XLA always compiles
    runtime = make_runtime(config.runtime)
    run = ROWS[sys.argv[1]](config, runtime)
    print(json.dumps(runtime.describe()), flush=True)
    for _ in sys.stdin:
        run()
        print("{}", flush=True)


if __name__ == "__main__":
    main()
