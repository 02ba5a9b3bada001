"""What `--help` lists: groups with their choices, fields with their values and what is allowed."""

from __future__ import annotations

import re
import textwrap

from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.command_line.program import Program
from cifar_imbalance.configuration.schema import rules

WIDTH = 100
FIELD = re.compile(r"( *)(\w+):")


def groups_text(program: Program) -> str:
    """A line for each group; the choices in a folder of theirs on lines of their own."""
    lines = []
    for group, choices in program.groups().items():
        folders = dict.fromkeys(choice.rpartition("/")[0] for choice in choices)
        for folder in sorted(folders):
            inside = ", ".join(choice for choice in choices if choice.rpartition("/")[0] == folder)
            first = "" if folder else group
            lines.append(textwrap.fill(inside, WIDTH, initial_indent=f"  {first:13} ", subsequent_indent=16 * " "))
    return "\n".join(lines)


def fields_text(program: Program, composed: DictConfig) -> str:
    """A line of YAML for each field, what is allowed as a comment."""
    shown = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    allowed, lines, path = rules(program.schema), [], list[str]()
    for line in OmegaConf.to_yaml(shown).splitlines():
        if field := FIELD.match(line):
            path = [*path[: len(field[1]) // 2], field[2]]
        name = ".".join(path)
        if not program.takes(name):
            continue
        if field and name in allowed:
            after = f"{field[1]}  # "
            line = textwrap.fill(allowed[name].allowed, WIDTH, initial_indent=f"{line}  # ", subsequent_indent=after)
        lines.append(line)
    return "\n".join(lines)
