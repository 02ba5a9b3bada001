"""Command lines made from the schema: each program runs or refuses in one line, and never ends in a trace."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_imbalance.configuration import fields
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.schema import field_paths, rules
from cifar_imbalance.configuration.values import Range

SHORT, LONG = 25, 300  # command lines of each program
PROGRAMS = {
    "train": ("train.py", fields.TrainConfig),
    "evaluate": ("evaluate.py", fields.EvaluateConfig),
    "benchmark": ("cifar_imbalance.benchmark", fields.BenchmarkConfig),
    "figures": ("cifar_imbalance.figures", fields.FiguresConfig),
    "preflight": ("cifar_imbalance.preflight", fields.PreflightConfig),
}
RUNS = ("ckpt", "resume", "repeat", "start", "reference")

# RUN is the folder of a finished run.
ODD = [
    *("", "null", "true", "abc", "???", "0", "-1", "1.5", "-0.0", "nan", "inf", "-inf", "1e300", "5e-324", "1e-400"),
    *("9" * 30, "-" + "9" * 30, "9" * 5000, "1_000", "0x10", "1e5", "٣"),
    *("[]", "[1,2]", "[a]", "[[a]]", "[[[a]]]", "[null]", "[1e400]", "[a,[b]]", "[{a:1}]", "[" * 40 + "]" * 40),
    *("{}", "{a:1}", "{a:{b:1}}", "{name:b0}", "{probability:0.3}", "{1:2}", "{null:1}", "{true:[]}"),
    *("1,2", "a,b", "[1],[2]", "0,", ",", "range(0,3)", "range(3,0)", "range(0,1,0)", "range(0,inf)", "range(0,1e9)"),
    *("interval(0,1)", "glob(*)", "choice(1,2)", "sort(2,1)", "shuffle(1,2)", "tag(a,1)", "int(x)", "float(1)"),
    *("str(1)", "bool(x)", "json_str({a:1})", "extend_list(1)", "nope(1)", "choice()"),
    *("${seed}", "${nope}", "${oc.env:NOPE}", "${oc.env:HOME}", "${hydra:run.dir}", "${hydra:nope}", "${", "${}"),
    *("${now:%Y}", "${run_folder:}", "${choices:}", "${fields:}"),
    *("${dataset}", "${.name}", "${..seed}", "[${seed}]", r"\${a}"),
    *("${experiment}${experiment}", "${oc.decode:[1}", "${nope:1}", "${oc.create:{a:1}}", "${model.name}"),
    *("'", '"', "'a'", '"a', "a b", " a", "a=b", "a(1)", "(", "[", "}", "#", "a#b", "~", "~nosuchuser/x", "~/x"),
    *("é", "猫", "\u202e", "\ud800", "\udcff", "\x1b[31m", "\x7f", "\n", "a\nb", "\t", "\r", "%s", "{0}", "x" * 300),
    *("a/b", "../x", "..", "RUN", "[RUN]", "[RUN,RUN]", "RUN/checkpoints/last.pt", "RUN/config.yaml", "paper/exp2"),
]  # fmt: skip
HYDRAS_FIELDS = [
    *("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra/launcher", "hydra/sweeper", "hydra/help"),
    *("hydra.launcher._target_", "hydra.launcher.x", "hydra.sweeper.params", "hydra.sweeper.max_batch_size"),
    *("hydra.mode", "hydra.searchpath", "hydra.job.num", "hydra.job.env_copy", "hydra.output_subdir"),
    *("hydra", "hydra/", "hydra.", "hydra.nope", "hydra.job_logging", "hydra.callbacks", "hydra.verbose"),
]  # fmt: skip
FLAGS = [
    *(["-m"], ["--multirun"], ["--run"], ["--help"], ["--hydra-help"], ["--version"], ["--info"], ["--info", "all"]),
    *(["--info", "nope"], ["--cfg", "job"], ["--cfg", "all"], ["--cfg", "nope"], ["--cfg"], ["--resolve"]),
    *(["--cfg", "job", "--resolve"], ["--cfg", "job", "--package", "model"], ["--package", "a..b"], ["--package", ""]),
    *(["--cfg", "job", "-p", "nope"], ["--cfg", "hydra", "-p", "hydra.run"], ["--cfg", "job", "-p", "[0]"]),
    *(["-sc"], ["-sc", "install=bash"], ["-sc", "query=zsh"], ["-sc", "install=nope"], ["-sc", "uninstall=fish"]),
    *(["--config-path", "x"], ["--config-name", "x"], ["--config-name", ""], ["--config-name", "evaluate"]),
    *(["--config-dir", "x"], ["--config-dir", ""], ["--experimental-rerun", "x"], ["--"], ["-x"]),
]  # fmt: skip


def likely_values(schema: type) -> dict[str, list[object]]:
    """For each field and group what is allowed, and what lies at its limits."""
    likely: dict[str, list[object]] = {name: ["null", "true", "1", "RUN"] for name in field_paths(schema)}
    for name, rule in rules(schema).items():
        if isinstance(rule, Range):
            low, high = (int(limit) if limit % 1 == 0 else limit for limit in (rule.low, rule.high))
            likely[name] = [low, high, low - 1, high + 1, 1, 2, 0.5, "[0.5,1]"]
        else:
            likely[name] = [*rule, f"[{rule[0]}]", ",".join(rule[:2])]
    for group in likely.keys() & {path.name for path in CONF.iterdir()}:
        likely[group] = [file.stem for file in sorted((CONF / group).glob("*.yaml"))]
    return likely


@st.composite
def command_lines(draw: st.DrawFn, likely: dict[str, list[object]]) -> list[str]:
    """One to four fields, groups and flags, often after what makes a complete configuration."""
    complete = {"ckpt": ["ckpt=RUN"], "dataset": ["dataset=digits"], "topology": ["dataset=digits", "topology=v5e:2x2"]}
    line = draw(st.sampled_from([[], *(words for name, words in complete.items() if name in likely)]))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.integers(0, 19))
        if kind == 0:
            line = [*line, draw(st.sampled_from(ODD))]
        elif kind == 1:
            line = [*line, *draw(st.sampled_from(FLAGS))]
        else:
            name = draw(st.sampled_from(HYDRAS_FIELDS if kind == 2 else sorted(likely)))
            usual = st.sampled_from(likely.get(name, ["a"]))
            text = st.text(st.characters(exclude_characters="\0/"), max_size=6)
            value = draw(st.one_of(*[usual] * 6, st.sampled_from(ODD), st.sampled_from(ODD), text, st.floats()))
            sign = draw(st.sampled_from(["+", "++", "~"])) if kind == 3 else ""
            line = [*line, f"{sign}{name}={value}"]
    return line


@pytest.fixture(scope="module")
def type_in(typed, tiny_run, tmp_path_factory):
    """Run a command line in a folder, with RUN for a finished run's, but train, evaluate, time and draw nothing."""
    from cifar_imbalance.benchmark import run
    from cifar_imbalance.engine import ensemble, evaluation, experiment
    from cifar_imbalance.figures import draw
    from cifar_imbalance.preflight import run as preflight

    base = tmp_path_factory.mktemp("harness")
    finished = shutil.copytree(tiny_run, base / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(base / "home"))
        for module in (run, ensemble, evaluation, experiment, draw, preflight):
            for name in [name for name in vars(module) if name.startswith("run_")]:
                patch.setattr(module, name, lambda *_: None)

        yield lambda cwd, program, line: typed(cwd, program, *(word.replace("RUN", str(finished)) for word in line))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("examples", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def test_a_command_line_runs_or_is_refused_in_one_line(type_in, program, examples):
    name, schema = PROGRAMS[program]

    @settings(
        max_examples=examples,
        derandomize=examples == SHORT,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines(likely_values(schema)))
    def check(line):
        with tempfile.TemporaryDirectory() as folder:
            cwd = Path(folder, "a", "b")  # so that ../x stays inside
            cwd.mkdir(parents=True)
            answer = type_in(cwd, program, line)
            left = [path.name for path in cwd.iterdir()]
        if answer.code == 0:
            assert answer.err == ""
        else:
            assert (answer.code, answer.out, left) == (2, "", [])
            assert answer.err.startswith(f"{name}: ")
            assert answer.err.splitlines(keepends=True) == [answer.err]
            assert answer.err.endswith("\n")

    check()
