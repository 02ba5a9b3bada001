"""The folder of a run: its files, and how a new run claims one."""

from __future__ import annotations

import copy
import csv
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cifar_imbalance import atomic, locks
from cifar_imbalance.configuration.fields import EvaluateConfig, TrainConfig
from cifar_imbalance.configuration.schema import as_dataclass
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs import stored

NUMBERS_OF_EPOCH = ("train_loss", "lr_start", "lr_end", "images_per_second", "seconds")  # in a line of metrics.jsonl


@cache  # a table of runs reads each some times, and OmegaConf takes a tenth of a second
def _parsed(file: Path, content: str) -> TrainConfig:
    values = stored.plain_values(file, content)
    if "ckpt" in values:
        raise UsageError(f"{file.parent}: this is the folder of an evaluation, not of a run")
    try:
        config = as_dataclass(TrainConfig, OmegaConf.create(values))
    except (UsageError, *stored.DAMAGE, OmegaConfBaseException) as error:
        raise stored.damaged(file, error) from error
    assert isinstance(config, TrainConfig)
    return config


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def recalls(self) -> Path:
        return self.path / "recalls.csv"

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def summary(self) -> Path:
        return self.report / "summary.json"

    @property
    def page(self) -> Path:
        return self.report / "report.html"

    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of the run's images. Raises UsageError if data.json is damaged."""
        shape = stored.read_json(self.data, {"image_shape": list})["image_shape"]
        if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise stored.damaged(self.data, f"image_shape is {shape}")
        return shape[0], shape[1]

    def checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / f"{name}.pt"

    def predictions(self, split: str) -> Path:
        return self.path / "predictions" / f"{split}.npz"

    def member(self, number: int) -> RunFolder:
        """The folder of an ensemble's member."""
        return RunFolder(self.path / "members" / str(number))

    def members(self, config: TrainConfig) -> list[RunFolder]:
        """The folders of an ensemble's members; for a single model its own folder. `config` is the run's own."""
        count = config.ensemble.members
        return [self] if count == 1 else [self.member(number) for number in range(count)]

    def reported_checkpoint(self, config: TrainConfig) -> Path:
        """The checkpoint of the reported epoch. `config` is the run's own."""
        return self.checkpoint(reported_epoch(config)[0])

    def reported_sha256(self) -> str | None:
        """SHA-256 of the reported checkpoint of a single model; None if the run is not finished."""
        file = self.reported_checkpoint(self.read_config())
        if not (self.is_finished and file.is_file()):
            return None
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the folder, so that no other process trains in it. Raises UsageError if one does."""
        with self.config.open() as file:
            if not locks.acquire(file):
                raise UsageError(f"resume={self.path}: another process is training in it")
            yield

    def tidy(self) -> None:
        """Delete the partial files that a killed process left, and separate the log from a hard link to it elsewhere.

        Only for a resumed run, while its folder is locked: in a new folder another run may be writing a file at this
        moment, to find that the folder is claimed.
        """
        for folder in (self.path, *self.path.glob("*/")):
            atomic.remove_partial_files(folder)
        if self.log.is_file() and self.log.stat().st_nlink > 1:  # all other files are replaced, this one is appended to
            lines = self.log.read_bytes()
            atomic.write(self.log, lambda file: file.write(lines))

    @property
    def is_finished(self) -> bool:
        """Whether the report, whose last file is the summary, is written; an empty file is what a crash can leave."""
        return self.summary.is_file() and self.summary.stat().st_size > 0

    def read_config(self) -> TrainConfig:
        """The run's own configuration. Raises UsageError if the file cannot be read as one."""
        return copy.deepcopy(_parsed(self.config, stored.read_text(self.config, stored.LARGEST_CONFIG)))

    def read_summary(self) -> dict[str, Any]:
        """The content of a finished run's summary.json. Raises UsageError if it is damaged."""
        return stored.read_json(self.summary, {"accuracy": float, "macro_f1": float})

    def predictions_sha256(self) -> dict[str, str]:
        """SHA-256 of each file of saved logits, by split, for summary.json."""
        files = sorted((self.path / "predictions").glob("*.npz"))
        return {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def checked_predictions(self, split: str) -> Path:
        """The file of the saved logits of `split`, which does not exist if the run saved none.

        Raises UsageError if it is gone, or not the one that the run's summary.json names.
        """
        saved = self.read_summary().get("predictions_sha256", {}) if self.is_finished else {}
        file, named = self.predictions(split), saved.get(split) if isinstance(saved, dict) else None
        if named is None:
            return file
        if not file.is_file():
            raise UsageError(f"{file}: there is no such file, though the run has saved it")
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != named:
                raise stored.damaged(file, "summary.json has the checksum of another file")
        return file

    def recorded_sha256(self) -> dict[str, Any]:
        """The SHA-256 of each image set, as data.json has them. Raises UsageError if it is damaged."""
        recorded = stored.read_json(self.data, {"sha256": dict})["sha256"]
        assert isinstance(recorded, dict)
        return recorded

    def check_images(self, sha256: dict[str, str | None], owner: str, hint: str = "") -> None:
        """Raises UsageError, with the `hint`, if the SHA-256 of the given image sets are not those of the run."""
        recorded = self.recorded_sha256()
        for name, value in sha256.items():
            if recorded.get(name) != value:
                why = "dataset.root, data.json"
                raise UsageError(f"{owner}: the {name} images are not those of the run ({why}){hint}")

    def read_history(self, up_to_epoch: int | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl for epochs 1 to `up_to_epoch`; later ones belong to an epoch to be repeated.

        Raises UsageError if it is damaged.
        """
        if not self.metrics.exists():
            return []
        lines = stored.read_json_lines(stored.read_text(self.metrics), self.metrics)
        for number, line in enumerate(lines, start=1):
            numbers = {name: value for name, value in line.items() if name != "phase"}
            missing = any(line.get(name) is None for name in NUMBERS_OF_EPOCH)
            if line.get("epoch") != number or missing or not all(map(_is_number, numbers.values())):
                raise stored.damaged(self.metrics, f"line {number} is not that of epoch {number}")
        return lines[:up_to_epoch]

    def checked_history(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl. Raises UsageError if they are not those that a finished run reported."""
        history = self.read_history()
        saved = self.read_summary().get("history_sha256") if self.is_finished else None
        if saved is not None and history_sha256(history) != saved:
            raise stored.damaged(self.metrics, "summary.json has the checksum of another file")
        return history

    def read_recalls(self, up_to_epoch: int | None = None) -> list[NDArray[np.float64]]:
        """The recall of each class [K] after each epoch up to `up_to_epoch`; NaN for a class without images.

        Raises UsageError if recalls.csv is damaged.
        """
        if not self.recalls.exists():
            return []
        text = stored.read_text(self.recalls)
        try:
            header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
            recalls = [np.array([float(cell or "nan") for cell in row[2:]]) for row in rows]
        except (ValueError, csv.Error) as error:
            raise stored.damaged(self.recalls, error) from error
        for number, (row, recall) in enumerate(zip(rows, recalls, strict=True), start=1):
            if len(row) != len(header) or row[0] != str(number) or ((recall < 0) | (recall > 1)).any():
                raise stored.damaged(self.recalls, f"row {number} is not that of epoch {number}")
        return recalls[:up_to_epoch]

    def epochs_sha256(self, epochs: int) -> dict[str, str]:
        """SHA-256 of what metrics.jsonl and recalls.csv say about the first `epochs`, for their checkpoint.

        Raises UsageError if one of them is damaged.
        """
        recalls = [recall.tolist() for recall in self.read_recalls(epochs)]
        return {
            "metrics.jsonl": stored.sha256(json.dumps(self.read_history(epochs))),
            "recalls.csv": stored.sha256(json.dumps(recalls)),
        }

    def write_recalls(self, recalls: Sequence[NDArray[np.float64]], class_names: Sequence[str], images: str) -> None:
        """A row per epoch: epoch, which images, and the recall of each class, empty for a class without images."""
        if not recalls:
            return
        rows: list[list[object]] = [["epoch", "images", *class_names]]
        for epoch, recall in enumerate(recalls, start=1):
            rows.append([epoch, images, *("" if np.isnan(value) else f"{value:.7g}" for value in recall)])
        _write_csv(self.recalls, rows)

    def write_class_values(self, name: str, values: Sequence[NDArray[Any]], class_names: Sequence[str]) -> None:
        """weights.csv or levels.csv, by what a controller sets (`name`): its value of each class, a row per epoch."""
        rows: list[list[object]] = [["epoch", *class_names]]
        rows += [[epoch, *(f"{value:.7g}" for value in row)] for epoch, row in enumerate(values, start=1)]
        _write_csv(self.path / f"{name}s.csv", rows)

    def write_history(self, history: list[dict[str, Any]]) -> None:
        atomic.write_text(self.metrics, "".join(json.dumps(line) + "\n" for line in history))


def _write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    atomic.write_text(path, text.getvalue())


def history_sha256(history: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of the lines of metrics.jsonl without what another run of the same configuration would time anew."""
    lines = [{name: value for name, value in line.items() if "second" not in name} for line in history]
    return stored.sha256(json.dumps(lines))


def _is_number(value: object) -> bool:
    """Whether a value of metrics.jsonl is a number that a float can hold, or null, for a loss that is not finite."""
    return value is None or (isinstance(value, int | float) and not abs(value) > sys.float_info.max)


def reported_epoch(config: TrainConfig) -> tuple[str, str]:
    """The reported checkpoint, `best` or `last`, and a description of how it was chosen."""
    if config.dataset.validation == "none":
        return "last", "the last epoch: there are no validation images"
    if config.checkpoint.choose == "last":
        return "last", "the last epoch: checkpoint.choose=last"
    images = "test images" if config.dataset.validation == "test" else "validation images"
    return "best", f"the best epoch by {config.checkpoint.monitor} of the {images}"


def find_run(path: str | Path) -> RunFolder | None:
    """The run that a path belongs to: its folder, or a file in its checkpoints/; None if it is neither."""
    place = expanded(str(path), "ckpt")
    if place.is_file():
        place = place.absolute().parent
        if place.name != "checkpoints":
            return None
        place = place.parent
    return RunFolder(place) if (place / "config.yaml").is_file() else None


def shortest_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths, all of as many folders, by which no two different ones are the same."""
    parts = [path.absolute().parts for path in paths]
    places, depth = len(set(parts)), 1
    while len({path[-depth:] for path in parts}) < places:
        depth += 1
    return ["/".join(path[-depth:]) for path in parts]


def runs_in(folder: Path) -> Iterator[RunFolder]:
    """The runs in a folder of runs, such as a sweep's, those of members and evaluations left out."""
    if (folder / "config.yaml").is_file():
        yield RunFolder(folder)
    elif folder.is_dir():
        for inside in sorted(folder.iterdir()):
            if not inside.name.startswith("."):
                yield from runs_in(inside)


@contextmanager
def in_passing(resumed: str | None) -> Iterator[Path]:
    """A folder that is gone after the block, with what is read of the run that is `resumed`."""
    with TemporaryDirectory(prefix="cifar_imbalance_") as folder:
        path = Path(folder)
        if resumed is not None:
            run = RunFolder(expanded(resumed, "resume"))
            (path / "checkpoints").mkdir()
            read = (run.config, run.data, run.metrics, run.recalls, run.checkpoint("last"), run.checkpoint("best"))
            for file in read:
                if file.is_file():
                    shutil.copy(file, path / file.relative_to(run.path))
        yield path


def claim(
    path: Path,
    config: TrainConfig | EvaluateConfig,
    overrides: list[str],
    parts: Sequence[str] = ("checkpoints", "predictions", "report"),
) -> RunFolder:
    """Claim `path` as the folder of a run or evaluation by creating its config.yaml, and create the subfolders `parts`.

    If another run has claimed the folder (two may start in the same second), a number is appended to the name.
    Raises UsageError if the folder cannot be created or written.
    """
    text = stored.sealed_yaml(config)
    attempt, number = path, 1
    try:
        while True:
            attempt.mkdir(parents=True, exist_ok=True)
            try:
                atomic.create_text(attempt / "config.yaml", text)
                break
            except FileExistsError:
                number += 1
                attempt = path.with_name(f"{path.name}_{number}")
        for name in parts:
            (attempt / name).mkdir(exist_ok=True)
        atomic.write_text(attempt / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(overrides)))
    except OSError as error:
        raise UsageError(f"hydra.run.dir={path}: cannot be written ({error.strerror})") from error
    return RunFolder(attempt)
