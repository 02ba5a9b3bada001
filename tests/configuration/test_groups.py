"""The files of conf/: each choice of a group has one, which sets only the fields of its choice."""

import pytest
from omegaconf import DictConfig, OmegaConf

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.schema import choice_blocks, field_paths, rules

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name in field_paths(TrainConfig))
BY_NAME = [group for group in GROUPS if f"{group}.name" in rules(TrainConfig)]


def files(group):
    return sorted((CONF / group).glob("*.yaml"))


def leaves(content, prefix=""):
    """The dotted path of every field that a file sets; `defaults` are choices, not fields."""
    for name, value in content.items():
        if isinstance(value, DictConfig):
            yield from leaves(value, f"{prefix}{name}.")
        elif name != "defaults":
            yield f"{prefix}{name}"


def named(file, prefix=""):
    return list(leaves(OmegaConf.load(file), prefix))


@pytest.mark.parametrize("group", BY_NAME)
def test_choices_and_yaml_files_correspond(group):
    assert sorted(rules(TrainConfig)[f"{group}.name"]) == [file.stem for file in files(group)]
    assert all(OmegaConf.load(file).name == file.stem for file in files(group))


@pytest.mark.parametrize("group", sorted({*GROUPS} - {"experiment"}))
def test_a_choice_sets_only_fields_of_its_group_and_of_its_own_block(group):
    others = {file.stem: {*choice_blocks(TrainConfig).get(group, ())} - {file.stem} for file in files(group)}
    for file in files(group):
        for path in named(file, f"{group}."):
            assert path in field_paths(TrainConfig)
            assert path.split(".")[1] not in others[file.stem], f"{file.name} sets {path}"


@pytest.mark.parametrize("experiment", files("experiment"), ids=lambda file: file.stem)
def test_an_experiment_sets_no_field_that_a_choice_of_its_group_sets(experiment):
    """Otherwise the experiment would silently override that field of a choice given on the command line.

    Of the choice that it makes itself it may set fields otherwise: to type that choice changes nothing.
    """
    made: dict[str, set[str]] = {}
    for entry in OmegaConf.load(experiment).get("defaults", []):
        if isinstance(entry, DictConfig):
            for name, choice in entry.items():
                made[name.removeprefix("override /")] = {choice} if isinstance(choice, str) else {*choice}
    of_choices = {
        path
        for group in {*GROUPS} - {"experiment"}
        for file in files(group)
        for path in named(file, f"{group}.")
        if path != f"{group}.name" and file.stem not in made.get(group, ())
    }
    assert {*named(experiment)} <= field_paths(TrainConfig) - of_choices
