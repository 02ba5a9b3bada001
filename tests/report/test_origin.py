"""How the runs of a table, a sweep or a search came about."""

import json
from dataclasses import replace

import pytest
import yaml

from cifar_imbalance.configuration.fields import TrainConfig
from cifar_imbalance.configuration.schema import leaves
from cifar_imbalance.report.page import origin as module
from cifar_imbalance.report.page.origin import origin_of_runs
from cifar_imbalance.runs.folder import RunFolder, claim

HERE = {"python": "3.11.7", "threads": 1, "versions": {"torch": "2.9.1", "numpy": "2.4.6"}}


@pytest.fixture
def run(tiny_run, tmp_path):
    """Makes the folder of a run: what differs from the tiny one, and its environment."""
    tiny: TrainConfig = RunFolder(tiny_run).read_config()

    def make(name, environment=HERE, **changes):
        made = claim(tmp_path / name, replace(tiny, **changes), [])
        stamped = {"started": f"now, {name}", "command": f"train.py {name}", **environment}
        (made.path / "environment.json").write_text(json.dumps(stamped))
        return made

    return make


def loss(run, name):
    """The block `loss` with the choice `name`, as in a run with loss=NAME."""
    from cifar_imbalance.configuration.fields import Focal

    focal = Focal(gamma=3.0) if name == "focal" else None
    return replace(run("for_its_loss").read_config().loss, name=name, focal=focal)


def titled(parts):
    return {part.title: part for part in parts}


def rows(table):
    return [tuple(cell.text for cell in row) for row in table.rows]


def test_the_fields_that_differ_have_their_values_in_each_group_and_the_others_are_shared(run):
    plain = [run(f"plain_{seed}", seed=seed) for seed in (0, 1)]
    focal = [run("focal_0", seed=0, loss=loss(run, "focal"))]
    parts = titled(origin_of_runs({"plain": plain, "focal": focal}, again="again"))
    table = parts["In what the runs differ"]
    assert table.columns == ["field", "plain", "focal"]
    assert rows(table) == [
        ("seed", "0, 1", "0"),
        ("loss.name", "cross_entropy", "focal"),
        ("loss.focal.gamma", "-", "3.0"),
    ]
    shared = yaml.safe_load(parts["Configuration that all runs share"].text)
    assert "seed" not in shared and shared["loss"].keys().isdisjoint({"name", "focal"})
    for path, value in leaves(plain[0].read_config()):
        if path not in ("seed", "loss.name", "loss.focal"):
            *blocks, name = path.split(".")
            found = shared
            for block in blocks:
                found = found[block]
            assert found[name] == value, path


def test_runs_are_repeated_all_at_once_or_one_by_one(run, monkeypatch):
    monkeypatch.setattr(module, "RUNS_UP_TO", 2)
    runs = [run(f"a {seed}", seed=seed) for seed in range(3)]
    lines = titled(origin_of_runs({"runs": runs}, again="python train.py -m seed=0,1,2"))["How to repeat it"].text
    assert lines.splitlines() == [
        "python train.py -m seed=0,1,2",
        "",
        "# one of the runs",
        f"python train.py 'repeat={runs[0].path}'",
        f"python train.py 'repeat={runs[1].path}'",
        "# and 1 more",
    ]


def test_one_environment_is_given_once_and_of_several_in_what_they_differ(run):
    other = {**HERE, "threads": 2, "versions": {"torch": "2.10.0", "numpy": "2.4.6"}}
    same = titled(origin_of_runs({"runs": [run("a"), run("b", seed=1)]}, again=""))
    assert json.loads(same["Environment that all runs share"].text) == {
        "python": "3.11.7",
        "threads": "1",
        "versions": {"torch": "2.9.1", "numpy": "2.4.6"},
    }
    assert "In what their environments differ" not in same
    runs = [run("c"), run("d", environment=other), run("e")]
    (runs[2].path / "environment_resumed_1.json").write_text(json.dumps(other))  # on another machine
    parts = titled(origin_of_runs({"runs": runs}, again=""))
    assert rows(parts["In what their environments differ"]) == [
        ("threads", "1", "2"),
        ("threads", "2", "2"),
        ("versions.torch", "2.9.1", "2"),
        ("versions.torch", "2.10.0", "2"),
    ]
    shared = json.loads(parts["Environment that all runs share"].text)
    assert shared == {"python": "3.11.7", "versions": {"numpy": "2.4.6"}}


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"python": ', b"\xff", b"[" * 100_000, b" " * 300_000])
def test_a_damaged_environment_is_left_out(run, content):
    runs = [run("a"), run("b")]
    (runs[1].path / "environment.json").write_bytes(content)
    parts = titled(origin_of_runs({"runs": runs}, again=""))
    assert rows(parts["In what their environments differ"])[:2] == [("python", "3.11.7", "1"), ("python", "-", "1")]


def test_many_groups_many_values_and_long_ones_keep_a_page_small(run):
    long = {f"entry {k}": "x" * 1000 for k in range(200)}
    runs = [run(f"{seed}", seed=seed, environment=long) for seed in range(30)]
    parts = origin_of_runs({run.path.name: [run] for run in runs}, again="")
    table = titled(parts)["In what the runs differ"]
    assert table.columns == ["field", "runs"]
    assert rows(table) == [("seed", "0, 1, 2, 3, 4, 5, 6, 7, … (30 values)")]
    assert len(titled(parts)["Environment that all runs share"].text) < 50_000


def test_no_run_has_the_command_alone():
    assert [(part.title, part.text) for part in origin_of_runs({"trials": []}, again="go on")] == [
        ("How to repeat it", "go on")
    ]
