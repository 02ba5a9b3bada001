"""A search: trial after trial is trained in a run folder of its own and told to the study, until there are enough.

What trains is imported for the first trial: a search that is finished only writes its report again.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import optuna

from cifar_imbalance import atomic
from cifar_imbalance.configuration.differences import fingerprint
from cifar_imbalance.configuration.fields import Searching, TrainConfig
from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.typed import as_typed
from cifar_imbalance.errors import TrainingFailed, UsageError
from cifar_imbalance.report.page.origin import origin_of_runs
from cifar_imbalance.report.page.parts import Part
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.report.search import TrialResult, write_search_report
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.runs.rerun import going_on
from cifar_imbalance.runs.stored import is_sealed_yaml, read_json, sealed
from cifar_imbalance.search.study import Study
from cifar_imbalance.search.trials import Trials
from cifar_imbalance.terminal import QuietTerminal


def run_search(config: Searching, trials: Trials, folder: Path) -> Path:
    """Train until the search in `folder` has `config.trials` trials, and write its report. Returns the folder.

    Raises UsageError if the folder has another search, or if the first trial is refused; TrainingFailed if all failed.
    """
    first = trials.first()
    canvas.use(first.plots)
    folder.mkdir(parents=True, exist_ok=True)
    _check_search(config, trials, first, folder)
    study = Study(folder, config.objectives, first.seed)
    again = _command(config, trials, folder)
    try:
        while True:
            with study.next_trial(config.trials) as trial:
                if trial is None:
                    break
                _run_trial(study, trial, config, trials, folder)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"go on with: {again}") from None
    with study.alone():  # the last of several processes writes it last
        results = study.results()
        text = write_search_report(
            folder / "report",
            results,
            config.objectives,
            logarithmic=trials.logarithmic,
            origin=_origin(results, folder, again),
        )
    print(f"\n{text}")
    if (waiting := config.trials - len(results)) > 0:
        print(f"{waiting} of {config.trials} trials are with other processes, the last of which adds them")
    print(f"search: {folder.absolute()}")
    print(f"page:   {(folder / 'report' / 'report.html').absolute()}")
    if results and all(result.failed for result in results):
        raise TrainingFailed(f"all {len(results)} trials failed, the first: {results[0].failed}")
    return folder


def _run_trial(study: Study, trial: optuna.Trial, config: Searching, trials: Trials, folder: Path) -> None:
    with study.alone():  # what other processes told meanwhile counts for all values of a trial, or for none
        values = trials.draw(trial)
    shown = " ".join(f"{key}={value}" for key, value in values.items())
    print(f"trial {trial.number + 1} of {config.trials}: {shown}", flush=True)
    began = time.perf_counter()
    try:
        run = _train(trials.config(values), folder / "trials" / f"{trial.number + 1:04d}", trials.overrides(values))
        found = validation_results(run, config.objectives)
    except (TrainingFailed, UsageError) as error:
        study.tell_failed(trial, str(error))
        if isinstance(error, UsageError) and not any(result.objectives for result in study.results()):
            raise UsageError(f"{error} (in a trial of {shown})") from error
        print(f"  failed: {error}", flush=True)
        return
    study.tell(trial, list(found.values()), run)
    results = " ".join(f"{name} {value:.4f}" for name, value in found.items())
    print(f"  {results}, {time.perf_counter() - began:.0f} s", flush=True)


def _train(config: TrainConfig, folder: Path, overrides: list[str]) -> Path:
    """Train, or go on with the run in this folder."""
    from cifar_imbalance.engine.ensemble import run_ensemble
    from cifar_imbalance.engine.experiment import run_experiment

    train = run_experiment if config.ensemble.members == 1 else run_ensemble
    run = train(going_on(config, folder), folder, overrides, QuietTerminal())
    assert run is not None  # a trial is no run of several processes
    return run


def validation_results(run: Path, objectives: Sequence[str]) -> dict[str, float]:
    """The objectives of a finished run, from its saved logits of validation images alone.

    Raises TrainingFailed if one is not finite.
    """
    from cifar_imbalance.evidence.metrics import summarize
    from cifar_imbalance.evidence.predictions import Predictions

    summary = summarize(Predictions.load(RunFolder(run).checked_predictions("validation")))
    found = {name: float(summary[name]) for name in objectives}
    for name, value in found.items():
        if not math.isfinite(value):
            raise TrainingFailed(f"{name} on the validation images is {value}")
    return found


def _check_search(config: Searching, trials: Trials, first: TrainConfig, folder: Path) -> None:
    """Write search.json into a new search's folder. Raises UsageError if it is that of another search."""
    here = {
        "objectives": config.objectives,
        "space": trials.typed,
        "shared": trials.shared,
        "first_sha256": fingerprint(first),
    }
    file = folder / "search.json"
    if not file.is_file():
        places = {place.name for place in folder.iterdir() if not place.name.startswith(".")}
        if places & {"trials", "journal.jsonl"}:
            raise UsageError(f"output={folder}: search.json, which says what was searched, is gone")
        if places:
            raise UsageError(f"output={folder}: it has other files, of no search; choose another folder")
        atomic.write_json(file, sealed(here))
        return
    there = read_json(file, dict.fromkeys(("objectives", "space", "shared"), list))
    for name in ("objectives", "space"):
        if here[name] != there[name]:
            raise UsageError(
                f"output={folder}: another search is there, whose {name} is {_listed(there[name])}, "
                f"not {_listed(here[name])}; choose another folder"
            )
    if here["first_sha256"] != there["first_sha256"]:
        raise UsageError(
            f"output={folder}: another search is there, whose trials share {_listed(there['shared'])}, "
            f"not {_listed(trials.shared)}; choose another folder"
        )


def _listed(words: Sequence[object]) -> str:
    return " ".join(map(str, words)) or "nothing"


def _origin(results: Sequence[TrialResult], folder: Path, again: str) -> list[Part]:
    """How the trials that were trained came about."""
    runs = [RunFolder(folder / result.folder) for result in results if result.folder]
    comment = "# goes on with the search, or, with another output=FOLDER, makes it again"
    found = [run for run in runs if is_sealed_yaml(run.config)]
    return origin_of_runs({"trials": found}, again=f"{comment}\n{again}")


def _command(config: Searching, trials: Trials, folder: Path) -> str:
    """What is typed to go on with this search."""
    words = [*trials.shared, *trials.typed, f"trials={config.trials}", f"objectives=[{','.join(config.objectives)}]"]
    if config.open:
        words.append("open=true")
    typed = [*map(shlex.quote, words), as_typed("output", str(folder))]
    if trials.config_dir is not None:
        typed.append(f"--config-dir={shlex.quote(str(trials.config_dir))}")
    return f"{command('search')} {' '.join(typed)}"
