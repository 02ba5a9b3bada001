"""Paths on the command line: what is printed can be pasted, and what is typed needs no quotes but the shell's."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cifar_imbalance.configuration.overrides import parse
from cifar_imbalance.configuration.typed import as_typed, expanded, readable
from cifar_imbalance.errors import UsageError

PATHS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


def read(text):
    """The value of FIELD=VALUE as the program has it."""
    (override,) = parse([text])
    assert not override.is_sweep_override()
    return OmegaConf.create({"value": override.value()}).value


@settings(max_examples=300, deadline=None, derandomize=True)
@given(PATHS)
@example("/data/a (1)=b[2]{3}#4~5'6\"7 8,9")
@example('back\\slash\\\\"')
@example("ends\\")
@example("${oc.env:HOME}")
@example("null")
@example("1e3")
@example("日本/é")
def test_what_is_printed_can_be_pasted(path):
    (word,) = shlex.split(as_typed("ckpt", path))
    assert read(word) == path


@pytest.mark.parametrize("path", ["ünï 猫", "it's é", "back\\slash é", "line\nfeed", "\x1b[2Jclear", "\x85", "(é) ~"])
def test_what_an_ascii_terminal_is_shown_can_be_pasted_too(path, monkeypatch):
    with open(os.devnull, "w", encoding="ascii") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        printed = as_typed("ckpt", path)
    assert printed.isascii() and printed.isprintable() and printed.startswith("$'ckpt=")
    answer = subprocess.run(["bash", "-c", f"printf %s {printed}"], capture_output=True, check=True)
    assert read(os.fsdecode(answer.stdout)) == path


def test_a_plain_path_is_printed_plainly():
    assert as_typed("ckpt", "outputs/exp2/2026-01-01_10-00-00_0") == "ckpt=outputs/exp2/2026-01-01_10-00-00_0"
    assert as_typed("ckpt", "a (1)") == "'ckpt=\"a (1)\"'"


@pytest.mark.parametrize("path", ["a (1)", "a=b", "x#1", "it's", 'say "x"', "~/x", "a~b", "é", "日本 1", "a{b", "[a"])
def test_a_path_needs_no_quotes_of_hydras(path):
    assert read(readable(f"dataset.root={path}")) == path


def test_what_hydra_reads_is_left_to_it():
    for text in ("ckpt=[a,b]", "seed=0,1", "experiment=a (1)", "ckpt=", "model.weights=null"):
        assert readable(text) == text


def test_home_is_expanded_where_hydra_would_not():
    assert read(readable("hydra.run.dir=~/runs")) == str(Path.home() / "runs")
    assert expanded("~/x", "dataset.root") == Path.home() / "x"


def test_impossible_paths_are_named():
    with pytest.raises(
        UsageError, match=r"^resume=~nosuchuser: there is no such user; write the whole path, resume=PATH$"
    ):
        expanded("~nosuchuser", "resume")
    with pytest.raises(UsageError, match=r"^ckpt=a/é+: ééé.* is longer than 255 bytes, the longest name$"):
        expanded("a/" + 128 * "é", "ckpt")
    with pytest.raises(UsageError, match=r"^resume=a/a/a/.*: it is longer than 4000 bytes, the longest path$"):
        expanded(3000 * "a/", "resume")
