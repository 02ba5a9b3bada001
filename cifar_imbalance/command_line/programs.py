"""The programs: what each composes, checks and runs. Torch is imported only when one runs."""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.command_line.composer import Composer
from cifar_imbalance.command_line.main import main
from cifar_imbalance.command_line.program import Program
from cifar_imbalance.configuration.checks import (
    NOT_IN_PREFLIGHT,
    checked_benchmark,
    checked_evaluate,
    checked_export,
    checked_figures,
    checked_grouping,
    checked_predict,
    checked_preflight,
    checked_search,
    checked_seeds,
    checked_track,
    checked_train,
    for_topology,
)
from cifar_imbalance.configuration.fields import (
    BenchmarkConfig,
    EvaluateConfig,
    ExportConfig,
    FiguresConfig,
    PredictConfig,
    PreflightConfig,
    Preflighting,
    SearchConfig,
    Searching,
    TrackConfig,
    TrainConfig,
)
from cifar_imbalance.configuration.installed import program_name
from cifar_imbalance.configuration.overrides import keys
from cifar_imbalance.configuration.schema import field_paths
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.adjustable import check_use
from cifar_imbalance.runs.evaluated import composed_for_evaluation, of_many_seeds
from cifar_imbalance.runs.folder import RunFolder, find_run
from cifar_imbalance.runs.named import finished_runs, own_combination, runs_to_use, runs_with_logits, single_run
from cifar_imbalance.runs.rerun import composed_for_training
from cifar_imbalance.search.space import read_space
from cifar_imbalance.search.trials import Trials
from cifar_imbalance.terminal import Terminal


def train() -> None:
    def run(config: TrainConfig, folder: Path, overrides: list[str]) -> Path | None:
        from cifar_imbalance.engine.ensemble import run_ensemble
        from cifar_imbalance.engine.experiment import run_experiment

        part_of_a_sweep = [Terminal()] if program.sweep is not None else []
        start = run_experiment if config.ensemble.members == 1 else run_ensemble
        return start(config, folder, overrides, *part_of_a_sweep)

    def checked(composed: DictConfig, overrides: list[str]) -> TrainConfig:
        return checked_train(composed_for_training(composed, overrides), keys(overrides))

    def report(folder: Path, runs: list[RunFolder], fields: list[str], command: str) -> list[str]:
        from cifar_imbalance.engine.grouping import report_sweep

        return report_sweep(folder, runs, fields, command)

    program = Program("train", program_name("train"), TrainConfig, checked, run, report)
    main(program)


def evaluate() -> None:
    def run(config: EvaluateConfig, folder: Path, overrides: list[str]) -> Path | None:
        from cifar_imbalance.engine.evaluation import run_combination, run_evaluation
        from cifar_imbalance.engine.grouping import run_grouping
        from cifar_imbalance.engine.seeds import run_against_seeds

        if config.group_by is not None:
            return run_grouping(config, folder, overrides)
        if of_many_seeds(config):
            return run_against_seeds(config, folder, overrides)
        runs = runs_with_logits(config)
        if runs:
            return run_combination(config, runs, folder, overrides)
        return run_evaluation(config, folder, overrides)

    def checked(composed: DictConfig, overrides: list[str]) -> EvaluateConfig:
        config = composed_for_evaluation(composed, overrides)
        if config.group_by is not None:
            return checked_grouping(config, keys(overrides))
        if of_many_seeds(config):
            return checked_seeds(config, keys(overrides))
        runs = runs_with_logits(config)
        of_weights = not runs and find_run(config.ckpt) is None
        return checked_evaluate(config, keys(overrides), of_saved_logits=bool(runs), of_weights=of_weights)

    main(Program("evaluate", program_name("evaluate"), EvaluateConfig, checked, run))


def benchmark() -> None:
    def run(config: BenchmarkConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.benchmark.run import run_benchmark

        run_benchmark(config, folder)

    def checked(composed: DictConfig, overrides: list[str]) -> BenchmarkConfig:
        return checked_benchmark(composed)

    main(Program("benchmark", program_name("benchmark"), BenchmarkConfig, checked, run))


def export() -> None:
    def run(config: ExportConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.export.run import run_export

        run_export(config, folder)

    def checked(composed: DictConfig, overrides: list[str]) -> ExportConfig:
        config = checked_export(composed)
        single_run(config.ckpt)
        return config

    main(Program("export", program_name("export"), ExportConfig, checked, run))


def predict() -> None:
    def run(config: PredictConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.predict.run import run_prediction

        run_prediction(config, folder)

    def checked(composed: DictConfig, overrides: list[str]) -> PredictConfig:
        config = checked_predict(composed, keys(overrides))
        runs = runs_to_use(config.ckpt)
        if len(runs) > 1 and "ensemble.combine" not in keys(overrides):
            config.ensemble.combine = own_combination(config.ckpt, runs)
        check_use(config, runs, keys(overrides))
        if not expanded(config.images, "images").exists():
            raise UsageError(f"images={config.images}: there is no such file or folder")
        return config

    main(Program("predict", program_name("predict"), PredictConfig, checked, run))


def search() -> None:
    trials: list[Trials] = []

    def run(config: Searching, folder: Path, overrides: list[str]) -> Path:
        from cifar_imbalance.search.run import run_search

        return run_search(config, trials[0], folder)

    def checked(composed: DictConfig, overrides: list[str]) -> Searching:
        config = checked_search(composed, keys(overrides))
        if not trials:
            assert program.space is not None
            space = read_space(program.space, program.groups())
            found = Trials(space, overrides, Composer("train", TrainConfig, program.searchpath), program.config_dir)
            found.check(config.objectives)
            trials.append(found)
        return config

    program = Program("search", program_name("search"), SearchConfig, checked, run, space=[])
    ConfigStore.instance().store("train_schema", TrainConfig)  # a trial is composed as a run of train.py
    main(program)


def preflight() -> None:
    def run(config: tuple[Preflighting, TrainConfig], folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.preflight.run import run_preflight

        run_preflight(*config, folder, overrides)

    def checked(composed: DictConfig, overrides: list[str]) -> tuple[Preflighting, TrainConfig]:
        config = checked_preflight(composed, keys(overrides))
        own = field_paths(Preflighting)
        words = [text for text in overrides if keys([text])[0] not in own]
        plain = OmegaConf.masked_copy(composed, [str(key) for key in composed if str(key) not in own])
        experiment = checked_train(composed_for_training(plain, words), keys(words))
        return config, for_topology(experiment, config.topology)

    main(Program("preflight", program_name("preflight"), PreflightConfig, checked, run, unused=NOT_IN_PREFLIGHT))


def track() -> None:
    def run(config: TrackConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.track.run import run_replay

        run_replay(config)

    def checked(composed: DictConfig, overrides: list[str]) -> TrackConfig:
        config = checked_track(composed)
        finished_runs(config.ckpt)
        return config

    main(Program("track", program_name("track"), TrackConfig, checked, run, positional="ckpt"))


def figures() -> None:
    def run(config: FiguresConfig, folder: Path, overrides: list[str]) -> None:
        from cifar_imbalance.figures.draw import run_figures

        run_figures(config, folder)

    def checked(composed: DictConfig, overrides: list[str]) -> FiguresConfig:
        return checked_figures(composed, keys(overrides))

    main(Program("figures", program_name("figures"), FiguresConfig, checked, run))
