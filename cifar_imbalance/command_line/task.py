"""What Hydra's task function does with the job that it is given: check it, run it, and leave no empty folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.command_line.program import Program
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.runs.rerun import going_on


def run_composed(
    program: Program, composed: DictConfig, folder: Path, *, begun: Path | None = None
) -> tuple[Any, Path | None]:
    """Check what Hydra composed and run it in `folder`, or go on with the run that an earlier process has `begun`.

    Returns its configuration, and its folder if it has results.
    """
    OmegaConf.resolve(composed)
    overrides = list(HydraConfig.get().overrides.task)
    config = program.checked(composed, overrides)
    if isinstance(config, TrainConfig) and begun is not None:
        config = going_on(config, begun)
    return config, program.run(config, folder, overrides)


def task_folder() -> Path:
    """The folder that Hydra made for this job."""
    return Path(HydraConfig.get().runtime.output_dir)


def remove_empty(folder: Path, existing: set[Path]) -> None:
    """Remove the folder that Hydra created for a run that never started, and the parents created for it."""
    folder = folder.absolute()
    while folder not in existing and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
