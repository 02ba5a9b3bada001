"""Rows that need their own process: it reports when it is ready, then runs one round per request."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cifar_imbalance.configuration.fields import BenchmarkConfig
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import TrainingFailed

LINES_SHOWN = 3
KERAS_MODELS = {"tf_efficientnet_b0": "EfficientNetB0", "tf_efficientnet_b5": "EfficientNetB5"}


class Worker:
    """A child process that answers each line on its standard input with a line of JSON."""

    def __init__(self, name: str, command: list[str], request: dict[str, Any]) -> None:
        self._name = name
        self._other_lines: deque[str] = deque(maxlen=LINES_SHOWN)  # of libraries, and of a traceback
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.described = self._request(json.dumps(request))

    def __call__(self) -> None:
        self._request("go")

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()

    def _request(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            while answer := self._process.stdout.readline():
                if answer.startswith("{"):
                    return json.loads(answer)
                self._other_lines.append(answer.strip())
        except BrokenPipeError:
            pass
        self.close()
        raise TrainingFailed(f"the process of {self._name} ended early: {' | '.join(self._other_lines)}")


def xla_worker(config: BenchmarkConfig, row: str) -> Worker:
    """XLA must claim its devices before any backward pass on the CPU in a process, so it gets its own process."""
    return Worker(row, [sys.executable, "-m", "cifar_imbalance.benchmark.xla_worker", row], asdict(config))


def keras_worker(config: BenchmarkConfig) -> Worker:
    """TensorFlow is not in our environment: its row runs in the Python `config.keras_python`."""
    script = Path(__file__).with_name("keras_worker.py")
    fields = ("batch_size", "image_size", "class_count", "steps")
    request = {name: getattr(config, name) for name in fields} | {
        "model": KERAS_MODELS[config.model.name.split(".")[0]],
        "threads": config.runtime.threads,
        "precision": config.runtime.precision,
    }
    return Worker("keras", [str(expanded(str(config.keras_python), "keras_python")), str(script)], request)
