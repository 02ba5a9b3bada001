"""Where the configuration groups are, and how the programs are called: in a clone, and installed from a wheel."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from cifar_imbalance.errors import UsageError

_PACKAGE = Path(__file__).resolve().parents[1]
FROM_WHEEL = (_PACKAGE / "conf").is_dir()
FILES = ("train", "evaluate")  # programs that a clone has as files; the others are modules
CONF = _PACKAGE / "conf" if FROM_WHEEL else _PACKAGE.parent / "conf"


def program_name(program: str) -> str:
    """The name of the program "train", "search", ... as messages have it."""
    if FROM_WHEEL:
        return f"cifar-imbalance-{program}"
    return f"{program}.py" if program in FILES else f"cifar_imbalance.{program}"


def command(program: str) -> str:
    """How the program is started from a shell."""
    name = program_name(program)
    return name if FROM_WHEEL else f"python {'' if program in FILES else '-m '}{name}"


def as_called(text: str) -> str:
    """A help text, written for a clone, with the programs' names here; columns behind them stay aligned."""

    def renamed(match: re.Match[str]) -> str:
        line = command(match["file"] or match["module"]) + match["words"]
        return line if match["gap"] is None else line.ljust(max(len(match[0]), len(line) + 2))

    program = rf"python (?:(?P<file>{'|'.join(FILES)})\.py|-m cifar_imbalance\.(?P<module>\w+))"
    return re.sub(program + r"(?P<words>(?: \S+)*)(?P<gap> {2,})?", renamed, text)


def installing(extra: str) -> str:
    """The command that installs an extra of this project, one of pyproject.toml's optional dependencies."""
    return f"pip install 'cifar_imbalance[{extra}]'" if FROM_WHEEL else f"pip install -e '.[{extra}]'"


def check_installed(package: str, asked: str, *, extra: str) -> None:
    """Raises UsageError if a `package` of the `extra`, which `asked` (FIELD=VALUE) needs, is not installed."""
    if find_spec(package) is None:
        raise UsageError(f"{asked}: {package} is not installed; {installing(extra)} installs it")
