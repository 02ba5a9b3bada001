"""--config-dir adds experiments of one's own, and nothing of Hydra's."""

import pytest


@pytest.fixture
def experiment(tmp_path):
    """experiment(text): a folder with the experiment `mine`."""

    def made(text, package="_global_"):
        folder = tmp_path / "mine"
        (folder / "experiment").mkdir(parents=True)
        (folder / "experiment" / "mine.yaml").write_text(f"# @package {package}\n{text}")
        return folder

    return made


def test_an_experiment_of_ones_own_is_checked_like_the_others(typed, tmp_path, experiment):
    folder = experiment("training: {epochs: -1}\n")
    answer = typed(tmp_path, "train", f"--config-dir={folder}", "experiment=mine", "dataset=digits")
    assert (answer.code, answer.err) == (2, "train.py: training.epochs=-1: allowed is at least 1\n")


@pytest.mark.parametrize(
    ("text", "package", "field"),
    [
        ("hydra: {launcher: null}\n", "_global_", "launcher"),
        ("hydra: {callbacks: {a: {_target_: os.system}}}\n", "_global_", "callbacks"),
        ("hydra: {sweeper: {max_batch_size: -1}}\n", "_global_", "sweeper"),
        ("chdir: true\n", "hydra.job", "job"),
        ("hydra: {run: {dir: elsewhere}}\n", "_global_", "run"),
    ],
)
def test_hydras_own_fields_are_refused(typed, tmp_path, experiment, text, package, field):
    folder = experiment(text, package)
    answer = typed(tmp_path, "train", f"--config-dir={folder}", "experiment=mine", "dataset=digits")
    line = f"train.py: hydra.{field}: a file of --config-dir sets it; Hydra's own fields can be typed alone\n"
    assert (answer.code, answer.err) == (2, line)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
