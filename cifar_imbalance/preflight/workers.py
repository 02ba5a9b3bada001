"""Work in processes of their own: torch_xla traces in one, the TPU's compiler runs in another."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any

from cifar_imbalance.errors import TrainingFailed, UsageError

LINES_SHOWN = 3
SECONDS_BETWEEN_LINES = 60.0


def answer_of(worker: str, request: dict[str, Any], waiting: Callable[[float], None]) -> dict[str, Any]:
    """What the process `worker`, a module of this package, answers to the request: its last line of JSON.

    While it works, `waiting` is called with the seconds so far, once a minute. Raises UsageError for what it refuses,
    `{"refused": ...}`, and TrainingFailed if it ends without an answer.
    """
    command = [sys.executable, "-m", f"cifar_imbalance.preflight.{worker}"]
    started = time.perf_counter()
    with TemporaryFile("w+", encoding="utf-8") as asked, TemporaryFile("w+", encoding="utf-8") as said:
        asked.write(json.dumps(request))
        asked.seek(0)
        process = subprocess.Popen(command, stdin=asked, stdout=said, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                try:
                    process.wait(SECONDS_BETWEEN_LINES)
                except subprocess.TimeoutExpired:
                    waiting(time.perf_counter() - started)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        said.seek(0)
        lines = [line.strip() for line in said.read().splitlines() if line.strip()]
    answers = [line for line in lines if line.startswith("{")]  # libraries may say something at their end
    if process.returncode != 0 or not answers:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit code {process.returncode}"
        raise TrainingFailed(f"the process {worker} ended early ({how}): {' | '.join(lines[-LINES_SHOWN:])}")
    answer: dict[str, Any] = json.loads(answers[-1])
    if "refused" in answer:
        raise UsageError(answer["refused"])
    return answer
