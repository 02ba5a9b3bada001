"""Where the configuration groups are, and how the programs are called: in a clone, and installed from a wheel."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from cifar_imbalance.errors import UsageError

_PACKAGE = Path(__file__).resolve().parents[1]
FROM_WHEEL = (_PACKAGE / "conf").is_dir()
CONF = _PACKAGE / "conf" if FROM_WHEEL else _PACKAGE.parent / "conf"


def program_name(program: str) -> str:
    """The name of the program "train" or "evaluate" as messages have it."""
    return f"cifar-imbalance-{program}" if FROM_WHEEL else f"{program}.py"


def command(program: str) -> str:
    """How the program is started from a shell."""
    return program_name(program) if FROM_WHEEL else f"python {program_name(program)}"


def as_called(text: str) -> str:
    """A help text, written for a clone, with the programs' names here; columns behind them stay aligned."""

    def renamed(match: re.Match[str]) -> str:
        line = command(match["program"]) + match["words"]
        return line if match["gap"] is None else line.ljust(max(len(match[0]), len(line) + 2))

    pattern = r"python (?P<program>train|evaluate)\.py(?P<words>(?: \S+)*)(?P<gap> {2,})?"
    return re.sub(pattern, renamed, text)


def installing(extra: str) -> str:
    """The command that installs an extra of this project, one of pyproject.toml's optional dependencies."""
    return f"pip install 'cifar_imbalance[{extra}]'" if FROM_WHEEL else f"pip install -e '.[{extra}]'"


def check_installed(package: str, asked: str, *, extra: str) -> None:
    """Raises UsageError if a `package` of the `extra`, which `asked` (FIELD=VALUE) needs, is not installed."""
    if find_spec(package) is None:
        raise UsageError(f"{asked}: {package} is not installed; {installing(extra)} installs it")
