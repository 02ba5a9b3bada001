"""The runs of one experiment over several seeds, in a folder such as a sweep's."""

from __future__ import annotations

from collections.abc import Sequence

from cifar_imbalance.configuration.differences import differing_fields
from cifar_imbalance.configuration.typed import expanded
from cifar_imbalance.errors import UsageError
from cifar_imbalance.runs.folder import RunFolder, runs_in

# In these the runs of one experiment may differ: each seed may have a parent or a teacher of its own.
OF_SEED = ("seed", "start", "start_sha256", "teacher_sha256")
NAMED = 3  # fields, or experiments, that a message names


def is_folder_of_runs(path: object) -> bool:
    """Whether `path` is a folder that is no run and has runs in it."""
    if not isinstance(path, str):
        return False
    folder = expanded(path, "ckpt")
    return folder.is_dir() and not (folder / "config.yaml").is_file() and next(runs_in(folder), None) is not None


def runs_of_seeds(path: str, field: str) -> list[RunFolder]:
    """The finished runs in the folder `path`, in the order of their seeds.

    Raises UsageError, which names `field`, for fewer than two, for runs that differ in more than the seed, and for a
    seed that two of them have.
    """
    runs = list(runs_in(expanded(path, field)))
    finished = [run for run in runs if run.is_finished]
    names = [name_in(run, path) for run in finished]
    if len(finished) < 2:
        found = f"one finished run, {names[0]}" if finished else "no finished run"
        raise UsageError(f"{field}={path}: has {found}; the spread over seeds needs two at least")
    configs = [run.read_config() for run in finished]
    differing: dict[str, str] = {}
    for other, config in zip(names, configs, strict=True):
        for name, (here, there) in differing_fields(configs[0], config).items():
            if name not in OF_SEED:
                differing.setdefault(name, f"{name} ({here} in {names[0]}, {there} in {other})")
    if differing:
        experiments = list(dict.fromkeys(config.experiment for config in configs))
        if len(experiments) > 1:
            raise UsageError(
                f"{field}={path}: has runs of {len(experiments)} experiments ({_some(experiments)}); name a folder "
                "that has those of one, or compare them with group_by=experiment"
            )
        raise UsageError(
            f"{field}={path}: its runs differ in more than the seed: {_some(list(differing.values()))}; name a folder "
            f"whose runs do not, or compare them with group_by={_to_group_by(next(iter(differing)))}"
        )
    of_seed: dict[int, RunFolder] = {}
    for run, config in sorted(zip(finished, configs, strict=True), key=lambda both: both[1].seed):
        if config.seed in of_seed:
            both = f"{name_in(of_seed[config.seed], path)} and {name_in(run, path)}"
            raise UsageError(f"{field}={path}: seed {config.seed} is in it twice, {both}")
        of_seed[config.seed] = run
    return list(of_seed.values())


def name_in(run: RunFolder, path: str) -> str:
    """A run's folder below the folder of runs `path`, by which no two of them are the same."""
    return str(run.path.relative_to(expanded(path, "ckpt")))


def _to_group_by(field: str) -> str:
    """What group_by= takes for a field: the group of an operator or a name, any other field itself."""
    group, _, rest = field.partition(".")
    return group if group == "augmentation" or rest == "name" else field


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
