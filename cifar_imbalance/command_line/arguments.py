"""The arguments as Hydra's parser reads them, and what is added to them in sys.argv, which Hydra reads again."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser

from cifar_imbalance.command_line.program import Program
from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.overrides import default_experiment
from cifar_imbalance.configuration.typed import parsed_override, readable
from cifar_imbalance.errors import UsageError
from cifar_imbalance.search.space import HOW

COMPLETION = ("install", "uninstall", "query")


def read_arguments(program: Program) -> Any:
    """The parsed arguments, with quotes where paths need them and the experiment if none is named."""
    arguments = _parsed()
    words = arguments.overrides
    plain = [place for place, word in enumerate(words) if "=" not in word] if program.positional else []
    if len(plain) == 1:
        (place,) = plain
        sys.argv[sys.argv.index(words[place])] = words[place] = f"{program.positional}={words[place]}"
    arguments.overrides = _readable(arguments.overrides)
    if program.space is not None:
        if arguments.multirun:
            raise UsageError("--multirun: a search has trials instead of jobs; leave out -m")
        if typed := [text for text in arguments.overrides if text.startswith("space=")]:
            raise UsageError(f"{typed[0]}: what is searched is typed as {HOW}")
        program.space = [text for text in arguments.overrides if (o := parsed_override(text)) and o.is_sweep_override()]
        arguments.overrides = [text for text in arguments.overrides if text not in program.space]
        sys.argv = [word for word in sys.argv if word not in program.space]
    if program.schema is TrainConfig and not only_describes(arguments):
        added = default_experiment(arguments.overrides)
        add_to_command(arguments.overrides, added)
        arguments.overrides = [*arguments.overrides, *added]
    return arguments


def only_describes(arguments: Any) -> bool:
    """Whether Hydra is asked about itself or about the program, which composes no job."""
    return bool(arguments.help or arguments.hydra_help or arguments.shell_completion or arguments.info)


def add_to_command(overrides: list[str], added: list[str]) -> None:
    """Add to the overrides in sys.argv, which Hydra reads itself; flags come before or after all of them."""
    place = len(sys.argv) - sys.argv[::-1].index(overrides[-1]) if overrides else 1
    sys.argv = [*sys.argv[:place], *added, *sys.argv[place:]]


def _parsed() -> Any:
    def refuse(message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2]
        hint = ""
        if unknown.startswith("-") and "=" in unknown:
            hint = f"; write {unknown.split()[0].lstrip('-')}"
        elif unknown.startswith("-"):
            hint = "; fields are written FIELD=VALUE, without dashes"
        elif unknown:
            hint = "; flags must come before or after all FIELD=VALUE arguments"
        raise UsageError(f"{message}{hint}; see --help")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]  # argparse would print its usage over many lines
    arguments = parser.parse_args()
    if arguments.experimental_rerun:
        raise UsageError("--experimental-rerun: it unpickles a file, which could run any code; use repeat=RUN")
    if arguments.config_path:
        raise UsageError("--config-path: the configuration is that of conf/; --config-dir=FOLDER adds another")
    modes = ("cfg", "info", "run", "multirun", "shell_completion")
    given = [f"--{name.replace('_', '-')}" for name in modes if getattr(arguments, name)]
    if len(given) > 1:
        raise UsageError(f"{' '.join(given)}: only one of these flags is possible")
    for flag in ("resolve", "package"):
        if getattr(arguments, flag) and not arguments.cfg:
            raise UsageError(f"--{flag}: only with --cfg")
    if arguments.shell_completion and ("".join(arguments.overrides)).partition("=")[0] not in COMPLETION:
        raise UsageError(f"--shell-completion: one of {', '.join(f'{word}=SHELL' for word in COMPLETION)} is expected")
    return arguments


def _readable(overrides: list[str]) -> list[str]:
    """The overrides with quotes where paths need them, also in sys.argv, which Hydra reads itself."""
    changed = {text: readable(text) for text in overrides}
    sys.argv = [changed.get(word, word) for word in sys.argv]
    return [changed[text] for text in overrides]
