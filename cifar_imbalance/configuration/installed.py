"""Where the configuration groups are, and how the programs are called: in a clone, and installed from a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
FROM_WHEEL = (_PACKAGE / "conf").is_dir()
CONF = _PACKAGE / "conf" if FROM_WHEEL else _PACKAGE.parent / "conf"


def program_name(program: str) -> str:
    """The name of the program "train" or "evaluate" as messages have it."""
    return f"cifar-imbalance-{program}" if FROM_WHEEL else f"{program}.py"


def command(program: str) -> str:
    """How the program is started from a shell."""
    return program_name(program) if FROM_WHEEL else f"python {program_name(program)}"
