# ruff: noqa: E501 (a mistake and its answer stand in one line)
"""Every rule about a configuration's values: what is typed, and the line that answers it."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from cifar_imbalance.command_line import CONF
from cifar_imbalance.configuration.allowed import CHOICES, RANGES
from cifar_imbalance.configuration.checks import checked_evaluate, checked_train
from cifar_imbalance.configuration.fields import BenchmarkConfig, EvaluateConfig, TrainConfig
from cifar_imbalance.configuration.schema import field_paths
from cifar_imbalance.errors import UsageError, nearest

RULES = [
    # names
    ("dataset.name=digit", "dataset.name=digit: allowed are cifar10, cifar100, image_folder, digits (did you mean digits?)"),
    ("dataset.validation=hold", "dataset.validation=hold: allowed are holdout, test, none (did you mean holdout?)"),
    ("dataset.holdout_balance=x", "dataset.holdout_balance=x: allowed are balanced, proportional"),
    ("dataset.imbalance.profile=steps", "dataset.imbalance.profile=steps: allowed are none, exponential, step (did you mean step?)"),
    ("augmentation.shift.border=wrap", "augmentation.shift.border=wrap: allowed are reflect, constant"),
    ("model.head_init=glorott", "model.head_init=glorott: allowed are timm, glorot (did you mean glorot?)"),
    ("loss.name=focal", "loss.name=focal: allowed are cross_entropy"),
    ("optimizer.name=adamv", "optimizer.name=adamv: allowed are adam, adamw, sgd (did you mean adam?)"),
    ("schedule.name=cos", "schedule.name=cos: allowed are constant, cosine, step, burnin_warmup_flat_cooldown (did you mean cosine?)"),
    ("checkpoint.monitor=f1", "checkpoint.monitor=f1: allowed are macro_f1, accuracy, worst_recall, loss"),
    ("checkpoint.choose=first", "checkpoint.choose=first: allowed are best, last"),
    ("runtime.name=gpu", "runtime.name=gpu: allowed are auto, cpu, cuda, xla, tpu (did you mean tpu?)"),
    ("runtime.precision=float16", "runtime.precision=float16: allowed are float32, bfloat16 (did you mean bfloat16?)"),
    # numbers
    ("seed=-1", "seed=-1: allowed is at least 0 and at most 4294967295"),
    ("dataset.image_size=3", "dataset.image_size=3: allowed is at least 4 and at most 4096"),
    ("dataset.holdout_fraction=1", "dataset.holdout_fraction=1.0: allowed is more than 0 and less than 1"),
    ("dataset.split_seed=-1", "dataset.split_seed=-1: allowed is at least 0 and at most 4294967295"),
    ("dataset.imbalance.factor=0.5", "dataset.imbalance.factor=0.5: allowed is at least 1"),
    ("dataset.imbalance.subset_seed=-1", "dataset.imbalance.subset_seed=-1: allowed is at least 0 and at most 4294967295"),
    ("augmentation.flip.probability=2", "augmentation.flip.probability=2.0: allowed is at least 0 and at most 1"),
    ("augmentation.flip.vertical_probability=2", "augmentation.flip.vertical_probability=2.0: allowed is at least 0 and at most 1"),
    ("augmentation.rotation.max_degrees=181", "augmentation.rotation.max_degrees=181.0: allowed is at least 0 and at most 180"),
    ("augmentation.rotation.border=wrap", "augmentation.rotation.border=wrap: allowed are reflect, constant"),
    ("augmentation.rotation.fill=-1", "augmentation.rotation.fill=-1.0: allowed is at least 0 and at most 255"),
    ("augmentation.shift.height_fraction=1", "augmentation.shift.height_fraction=1.0: allowed is at least 0 and less than 1"),
    ("augmentation.shift.width_fraction=-1", "augmentation.shift.width_fraction=-1.0: allowed is at least 0 and less than 1"),
    ("augmentation.shift.fill=256", "augmentation.shift.fill=256.0: allowed is at least 0 and at most 255"),
    ("augmentation.pad_crop.padding=-1", "augmentation.pad_crop.padding=-1: allowed is at least 0"),
    ("augmentation.pad_crop.fill=-1", "augmentation.pad_crop.fill=-1.0: allowed is at least 0 and at most 255"),
    ("augmentation.cutout.count=0", "augmentation.cutout.count=0: allowed is at least 1"),
    ("augmentation.cutout.size_fraction=1.5", "augmentation.cutout.size_fraction=1.5: allowed is more than 0 and at most 1"),
    ("augmentation.cutout.fill=300", "augmentation.cutout.fill=300.0: allowed is at least 0 and at most 255"),
    ("augmentation.color_jitter.probability=-1", "augmentation.color_jitter.probability=-1.0: allowed is at least 0 and at most 1"),
    ("model.drop_rate=1", "model.drop_rate=1.0: allowed is at least 0 and less than 1"),
    ("model.drop_path_rate=-0.1", "model.drop_path_rate=-0.1: allowed is at least 0 and less than 1"),
    ("model.resolution=0", "model.resolution=0.0: allowed is more than 0"),
    ("loss.label_smoothing=1", "loss.label_smoothing=1.0: allowed is at least 0 and less than 1"),
    ("optimizer.momentum=1", "optimizer.momentum=1.0: allowed is at least 0 and less than 1"),
    ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1.0: allowed is at least 0"),
    ("schedule.max_lr=0", "schedule.max_lr=0.0: allowed is more than 0"),
    ("schedule.max_lr=nan", "schedule.max_lr=nan: allowed is more than 0"),
    ("schedule.max_lr=inf", "schedule.max_lr=inf: allowed is more than 0"),
    ("schedule.min_lr=-1", "schedule.min_lr=-1.0: allowed is at least 0"),
    ("schedule.warmup_epochs=-1", "schedule.warmup_epochs=-1.0: allowed is at least 0"),
    ("schedule.gamma=0", "schedule.gamma=0.0: allowed is more than 0 and at most 1"),
    ("training.epochs=0", "training.epochs=0: allowed is at least 1"),
    ("training.batch_size=-1", "training.batch_size=-1: allowed is at least 2"),
    ("training.eval_batch_size=0", "training.eval_batch_size=0: allowed is at least 1"),
    ("training.clip_norm=0", "training.clip_norm=0.0: allowed is more than 0"),
    ("training.ema_decay=1", "training.ema_decay=1.0: allowed is more than 0 and less than 1"),
    ("runtime.devices=0", "runtime.devices=0: allowed is at least 1"),
    ("runtime.threads=0", "runtime.threads=0: allowed is at least 1"),
    ("dataset.folds=1", "dataset.folds=1: allowed is at least 2"),
    ("dataset.without_fold=-1", "dataset.without_fold=-1: allowed is at least 0"),
    ("model.freeze_ratio=1.5", "model.freeze_ratio=1.5: allowed is at least 0 and at most 1"),
    ("schedule.burnin_epochs=-1", "schedule.burnin_epochs=-1: allowed is at least 0"),
    ("schedule.burnin_lr=-1", "schedule.burnin_lr=-1.0: allowed is at least 0"),
    ("schedule.flat_epochs=-1", "schedule.flat_epochs=-1: allowed is at least 0"),
    ("schedule.cooldown_epochs=-1", "schedule.cooldown_epochs=-1: allowed is at least 0"),
    ("ensemble.members=0", "ensemble.members=0: allowed is at least 1"),
    ("ensemble.workers=0", "ensemble.workers=0: allowed are auto and numbers of at least 1"),
    ("ensemble.workers=many", "ensemble.workers=many: allowed are auto and numbers of at least 1"),
    ("ensemble.combine=mean_logits", "ensemble.combine=mean_logits: allowed are mean_probability, mean_logit, weighted (did you mean mean_logit?)"),
    # fields that must suit each other
    ("augmentation.order=[flip,spin]", "augmentation.order=spin: allowed are flip, rotation, shift, pad_crop, cutout, color_jitter"),
    ("augmentation.order=[shift,shift]", "augmentation.order=['shift', 'shift']: each operator stands in it once"),
    ("augmentation.order=[]", "augmentation.order=[]: flip is switched on and has no place in it"),
    ("augmentation.color_jitter.contrast=[2,1]", "augmentation.color_jitter.contrast=[2.0, 1.0]: [LOW, HIGH] with 0 <= LOW <= HIGH"),
    ("schedule.min_lr=1", "schedule.min_lr=1.0: at most schedule.max_lr, which is 0.005"),
    ("training.epochs=30 schedule.warmup_epochs=31", "schedule.warmup_epochs=31.0: at most training.epochs, which is 30"),
    ("schedule.milestones=[5,3]", "schedule.milestones=[5, 3]: rising epochs, each at least 1"),
    ("optimizer.betas=[0.9]", "optimizer.betas=[0.9]: two numbers, each at least 0 and less than 1"),
    ("optimizer.nesterov=true optimizer.momentum=0", "optimizer.nesterov=True: needs optimizer.momentum above 0"),
    ("dataset.imbalance.profile=none", "dataset.imbalance.factor=10.0: has no effect with dataset.imbalance.profile=none; allowed are exponential, step"),
    ("dataset.root=.", "dataset.root=.: digits come with scikit-learn and have no folder"),
    ("dataset.imbalance.factor=1", "dataset.imbalance.factor=1.0: exponential needs a factor above 1"),
    ("runtime=cpu runtime.devices=2", "runtime.devices=2: only with runtime=xla or runtime=tpu"),
    ("schedule=burnin_warmup_flat_cooldown schedule.warmup_epochs=10 training.epochs=20", "training.epochs=20: allowed is 38, what the schedule has: burnin_epochs 3 + warmup_epochs 10 + flat_epochs 5 + cooldown_epochs 20"),
    ("schedule=burnin_warmup_flat_cooldown schedule.warmup_epochs=1.5", "schedule.warmup_epochs=1.5: burnin_warmup_flat_cooldown has whole epochs"),
    ("schedule.burnin_epochs=2", "schedule.burnin_epochs=2: only with burnin_warmup_flat_cooldown"),
    ("schedule.per_step=true", "schedule.per_step=True: only with burnin_warmup_flat_cooldown"),
    ("dataset.folds=3", "dataset.folds, dataset.without_fold: one needs the other"),
    ("dataset.folds=3 dataset.without_fold=3", "dataset.without_fold=3: allowed is 0 to 2"),
    ("ensemble.members=3 ensemble.models=[a]", "ensemble.models: 1 entries for ensemble.members=3; one each, or []"),
    ("ensemble.models=[a]", "ensemble.members=1: a single model; ensemble.models, .weights, .augmentations need more"),
    ("augmentation=none ensemble.members=2 ensemble.augmentations=[[],[flip]]", "ensemble.augmentations: flip; allowed are those that are switched on: none is; switch on with augmentation=[flip]"),
    ("ensemble.folds=true", "ensemble.folds=True: needs ensemble.members above 1, and dataset.folds=null"),
    ("ensemble.members=2 ensemble.combine=weighted dataset.validation=test", "ensemble.combine=weighted: weighs by the validation images and needs dataset.validation=holdout, not test"),
    ("ensemble.members=2 seed=4294967294", "seed=4294967294: with ensemble.members=2 at most 2147483647"),
    # paths
    ("ensemble.members=2 ensemble.weights=[a.pth,b.pth]", "ensemble.weights=a.pth: there is no such file"),
    ("dataset=image_folder", "dataset.root: image_folder needs a folder with train/CLASS/ and test/CLASS/ in it"),
    ("dataset=image_folder dataset.root=absent", "dataset.root=absent: there is no folder train/ in it (train/CLASS/IMAGE is wanted)"),
    ("dataset=cifar10 dataset.root=absent", "dataset.root=absent: there is no such folder; leave it out to download cifar10"),
    ("model.weights=absent.pt", "model.weights=absent.pt: there is no such file"),
    ("model.weights=here.txt", "model.weights=here.txt: allowed are files that end in .safetensors, .pth, .pt, .bin"),
    ("model.name=???", "model.name: a value is missing; write model.name=VALUE or choose model=NAME"),
]  # fmt: skip


def composed(*words, name="train"):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, ["augmentation=[flip,rotation,shift,pad_crop,cutout,color_jitter]", *words][name != "train" :],
                         return_hydra_config=True)  # fmt: skip
    HydraConfig.instance().set_config(config)
    plain = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    OmegaConf.resolve(plain)
    return plain


@pytest.fixture(scope="module")
def schemas(typed, tmp_path_factory):
    """Typing a command registers its schema with Hydra."""
    for program in ("train", "evaluate"):
        assert typed(tmp_path_factory.mktemp("schemas"), program, "seed=-1").code == 2


@pytest.fixture(autouse=True)
def working_folder(schemas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.txt").touch()


@pytest.mark.parametrize(("words", "line"), RULES, ids=[words for words, _ in RULES])
def test_a_wrong_value_is_answered_with_its_field_and_what_is_allowed(words, line):
    with pytest.raises(UsageError) as refused:
        checked_train(composed(*words.split()))
    assert str(refused.value) == line


@pytest.mark.parametrize("path", sorted({*CHOICES, *RANGES} & field_paths(TrainConfig)))
def test_every_rule_is_in_the_table_above(path):
    assert any(word.startswith(f"{path}=") for words, _ in RULES for word in words.split())


def test_every_rule_is_about_a_field_that_exists():
    assert {*CHOICES, *RANGES} <= field_paths(TrainConfig) | field_paths(EvaluateConfig) | field_paths(BenchmarkConfig)


def test_the_values_of_the_quickstart_are_good():
    assert checked_train(composed()).dataset.name == "digits"


def test_a_split_that_the_run_does_not_have():
    words = ["ckpt=x", "split=validation", "dataset.validation=none"]
    with pytest.raises(UsageError) as refused:
        checked_evaluate(composed(*words, name="evaluate"))
    line = "split=validation: this run has none (dataset.validation=none); allowed are test, train"
    assert str(refused.value) == line


@pytest.mark.parametrize(("value", "hint"), [("adm", " (did you mean adam?)"), ("zzz", "")])
def test_the_nearest_name_is_offered_only_where_one_is_near(value, hint):
    assert nearest(value, ["adam", "sgd"]) == hint
