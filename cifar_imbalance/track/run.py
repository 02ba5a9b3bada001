"""A replay: what a finished run would have sent to a tracker while it trained."""

from __future__ import annotations

import logging

from cifar_imbalance.configuration.fields import TrackConfig
from cifar_imbalance.errors import TrainingFailed
from cifar_imbalance.runs.named import finished_runs
from cifar_imbalance.terminal import Terminal
from cifar_imbalance.trackers.tracking import tracking

log = logging.getLogger(__name__)


def run_replay(config: TrackConfig) -> None:
    """Send each run to the trackers. Raises UsageError for damaged files, TrainingFailed if a tracker fails."""
    with Terminal():
        for run in finished_runs(config.ckpt):
            history = run.checked_history()
            with tracking(config.logger, run, run.read_config()) as tracked:
                for line in history:
                    tracked.log(line)
                tracked.finish()
            if tracked.failed:
                raise TrainingFailed(f"ckpt={run.path}: not sent to {', '.join(tracked.failed)}")
            log.info("%s: %d epochs sent to %s", run.path, len(history), ", ".join(config.logger))
