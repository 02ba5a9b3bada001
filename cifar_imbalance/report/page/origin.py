"""How the results on a page came about: the commands that give them again, configurations and environments."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cifar_imbalance.configuration.installed import command
from cifar_imbalance.configuration.schema import leaves
from cifar_imbalance.configuration.typed import as_typed
from cifar_imbalance.errors import UsageError
from cifar_imbalance.report.page.parts import Cell, Part, Table, Text, count
from cifar_imbalance.runs import stored
from cifar_imbalance.runs.folder import RunFolder
from cifar_imbalance.terminal import one_line

RUNS_UP_TO = 20  # whose commands are listed
GROUPS_UP_TO = 20  # columns of the table of differences; of more groups there is one column for all runs
VALUES_UP_TO = 8  # of a field, in a cell
LONGEST_VALUE = 200  # characters; files may be a stranger's
ENTRIES_UP_TO = 100  # of an environment
NONE = "-"  # of a field that a run does not have
OF_ITS_OWN = ("started", "command")  # entries that every environment has of its own


def origin(folder: Path) -> list[Part]:
    """How the results in `folder` came about, from its files; nothing if they are not ours: a page may be mailed."""
    if not stored.is_sealed_yaml(folder / "config.yaml"):
        return []
    configuration = Text("Configuration", (folder / "config.yaml").read_text())
    return [Text("How to repeat it", "\n".join(_commands(folder))), configuration, *_environment_of(folder)]


def origin_of_table(groups: Mapping[str, Sequence[RunFolder]], folder: Path) -> list[Part]:
    """How the runs came about that evaluate.py compares in `folder`, and where it did.

    Its own configuration is what was typed; the rest of it, such as a data set, has no effect on a comparison of runs.
    """
    return [*origin_of_runs(groups, again="\n".join(_commands(folder))), *_environment_of(folder, " of the comparison")]


def origin_of_runs(groups: Mapping[str, Sequence[RunFolder]], *, again: str) -> list[Part]:
    """How the runs came about: what gives them `again`, in what they differ, and what they share."""
    runs = [run for group in groups.values() for run in group]
    one_by_one = [f"{command('train')} {as_typed('repeat', str(run.path))}" for run in runs[:RUNS_UP_TO]]
    if len(runs) > RUNS_UP_TO:
        one_by_one.append(f"# and {len(runs) - RUNS_UP_TO} more")
    lines = [again, *(["", "# one of the runs", *one_by_one] if runs else [])]
    return [Text("How to repeat it", "\n".join(lines)), *_configurations(groups), *_environments(runs)]


def _commands(folder: Path) -> list[str]:
    """What is typed to have a run or an evaluation again."""
    program, overrides = _program(folder), folder / "overrides.yaml"
    words = yaml.safe_load(overrides.read_text()) if overrides.is_file() else []
    again = [f"{command(program)} {shlex.join(map(str, words or []))}".rstrip()]
    if folder.parent.name == "members":  # what was typed is the ensemble's
        again = []
    if program == "train":
        again.append(f"{command(program)} {as_typed('repeat', str(folder))}")
    return again


def _program(folder: Path) -> str:
    return "evaluate" if "\nckpt:" in f"\n{(folder / 'config.yaml').read_text()}" else "train"


def _environment_of(folder: Path, what: str = "") -> list[Part]:
    """The environment of a run or an evaluation, as its file has it."""
    file = folder / "environment.json"
    return [Text(f"Environment{what}", file.read_text())] if file.is_file() else []


# ---------------------------------------------------------------- of several runs
def _configurations(groups: Mapping[str, Sequence[RunFolder]]) -> list[Part]:
    """The fields in which the runs differ, with their values in each group, and those that all share."""
    if len(groups) > GROUPS_UP_TO:
        groups = {"runs": [run for group in groups.values() for run in group]}
    fields = {name: [dict(leaves(run.read_config())) for run in group] for name, group in groups.items()}
    of_runs = [of_run for group in fields.values() for of_run in group]
    if not of_runs:
        return []
    found = dict.fromkeys(path for of_run in of_runs for path in of_run)
    places = list(dict.fromkeys(path.partition(".")[0] for path in found))
    paths = sorted(found, key=lambda path: places.index(path.partition(".")[0]))  # fields of a group beside each other
    shared = {path: of_runs[0].get(path) for path in paths if _is_shared(path, of_runs)}
    # null in a run without a block, whose fields have rows of their own
    blocks = {path.rpartition(".")[0] for path in paths}
    rows = [
        [Cell(path), *(Cell(_listed([_text(of_run, path) for of_run in group])) for group in fields.values())]
        for path in paths
        if path not in shared and path not in blocks
    ]
    note = "Fields of the configuration; the others are the same in all runs."
    table = [Table("In what the runs differ", ["field", *fields], rows, note)] if rows else []
    text = yaml.safe_dump(_nested(shared), sort_keys=False, allow_unicode=True, width=120)
    return [*table, Text("Configuration that all runs share", text)]


def _environments(runs: Sequence[RunFolder]) -> list[Part]:
    """What the environments of all runs share, and of how many runs each value is that they do not."""
    of_runs = [_environment(run) for run in runs]
    names = list(dict.fromkeys(name for of_run in of_runs for name in of_run))
    found = {name: Counter(value for of_run in of_runs for value in of_run.get(name, [NONE])) for name in names}
    shared = {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
    rows = [
        [Cell(name), Cell(value), count(n)]
        for name, values in found.items()
        if name not in shared
        for value, n in values.most_common(VALUES_UP_TO)
    ]
    table = [Table("In what their environments differ", ["entry", "value", "runs"], rows)] if rows else []
    text = [Text("Environment that all runs share", json.dumps(_nested(shared), indent=2, ensure_ascii=False))]
    return [*table, *(text if shared else [])]


def _environment(run: RunFolder) -> dict[str, list[str]]:
    """The entries of a run's environment; of a run that was resumed elsewhere one has several values.

    Nothing depends on these files, so one that is damaged is left out.
    """
    found: dict[str, list[str]] = {}
    for file in sorted(run.path.glob("environment*.json")):
        try:
            content = json.loads(stored.read_text(file, stored.LARGEST_CONFIG))
            entries = _entries({name: value for name, value in content.items() if name not in OF_ITS_OWN})
        except (UsageError, *stored.DAMAGE):
            continue
        for name, value in list(entries.items())[:ENTRIES_UP_TO]:
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return found


def _entries(content: Mapping[str, Any]) -> dict[str, str]:
    """By dotted names, such as versions.torch."""
    entries: dict[str, str] = {}
    for name, value in content.items():
        inner = {f"{name}.{one}": value[one] for one in value} if isinstance(value, dict) else {name: value}
        entries |= {_short(one): _short(str(text)) for one, text in inner.items()}
    return entries


def _is_shared(path: str, of_runs: Sequence[Mapping[str, Any]]) -> bool:
    return all(path in of_run and of_run[path] == of_runs[0].get(path) for of_run in of_runs)


def _text(of_run: Mapping[str, Any], path: str) -> str:
    """The value of a field as it is typed."""
    if path not in of_run:
        return NONE
    value = of_run[path]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _listed(texts: Iterable[str]) -> str:
    """The different ones, each once."""
    values = [_short(text) for text in dict.fromkeys(texts)]
    more = f", … ({len(values)} values)" if len(values) > VALUES_UP_TO else ""
    return ", ".join(values[:VALUES_UP_TO]) + more


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Blocks of fields, from dotted names."""
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *blocks, name = path.split(".")
        block = nested
        for one in blocks:
            block = block.setdefault(one, {})
        block[name] = value
    return nested
