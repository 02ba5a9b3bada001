# ruff: noqa: E501 (an input and its error are on one line)
"""Every rule about a configuration's values: the overrides, and the one-line error."""

from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from cifar_imbalance.configuration import checks, consistency, effects
from cifar_imbalance.configuration.checks import checked_evaluate, checked_train
from cifar_imbalance.configuration.consistency import check_batch_size
from cifar_imbalance.configuration.fields import OPERATORS, Adam, EvaluateConfig, FourPhases, Sgd, Step, TrainConfig
from cifar_imbalance.configuration.installed import CONF
from cifar_imbalance.configuration.overrides import keys, parse
from cifar_imbalance.configuration.schema import choice_blocks, field_paths, leaves, rules
from cifar_imbalance.configuration.values import Choices
from cifar_imbalance.errors import UsageError, nearest

DATASETS, LOSSES, CLASS_WEIGHTS, SAMPLERS, CONTROLLERS, OPTIMIZERS, SCHEDULES = (
    ", ".join(rules(TrainConfig)[f"{group}.name"])
    for group in ("dataset", "loss", "class_weights", "sampler", "controller", "optimizer", "schedule")
)
ALL_OPERATORS = ", ".join(rules(TrainConfig)["augmentation.order"])

# Each is added to experiment=quickstart with every augmentation.
RULES = [
    # names
    ("dataset.name=no_such_images", f"dataset.name=no_such_images: allowed are {DATASETS}"),
    ("dataset.validation=hold", "dataset.validation=hold (did you mean holdout?): allowed are holdout, test, none"),
    ("dataset.holdout_balance=x", "dataset.holdout_balance=x: allowed are balanced, proportional"),
    ("dataset.imbalance.profile=steps", "dataset.imbalance.profile=steps (did you mean step?): allowed are none, exponential, step"),
    ("augmentation.shift.border=wrap", "augmentation.shift.border=wrap: allowed are reflect, constant"),
    ("model.head_init=glorott", "model.head_init=glorott (did you mean glorot?): allowed are timm, glorot"),
    ("loss.name=no_such_loss", f"loss.name=no_such_loss: allowed are {LOSSES}"),
    ("class_weights.name=no_such_weights", f"class_weights.name=no_such_weights: allowed are {CLASS_WEIGHTS}"),
    ("sampler.name=no_such_order", f"sampler.name=no_such_order: allowed are {SAMPLERS}"),
    ("controller.name=no_such_hand", f"controller.name=no_such_hand: allowed are {CONTROLLERS}"),
    ("optimizer.name=no_such_optimum", f"optimizer.name=no_such_optimum: allowed are {OPTIMIZERS}"),
    ("schedule.name=no_such_plan", f"schedule.name=no_such_plan: allowed are {SCHEDULES}"),
    ("checkpoint.monitor=f1", "checkpoint.monitor=f1: allowed are macro_f1, accuracy, worst_recall, loss"),
    ("checkpoint.choose=first", "checkpoint.choose=first: allowed are best, last"),
    ("runtime.name=gpu", "runtime.name=gpu (did you mean tpu?): allowed are auto, cpu, cuda, xla, tpu"),
    ("runtime.precision=float16", "runtime.precision=float16 (did you mean bfloat16?): allowed are float32, bfloat16"),
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
    ("augmentation.cutout.count=0", "augmentation.cutout.count=0: allowed is at least 1 and at most 1000"),
    ("augmentation.cutout.size_fraction=1.5", "augmentation.cutout.size_fraction=1.5: allowed is more than 0 and at most 1"),
    ("augmentation.cutout.fill=300", "augmentation.cutout.fill=300.0: allowed is at least 0 and at most 255"),
    ("augmentation.color_jitter.probability=-1", "augmentation.color_jitter.probability=-1.0: allowed is at least 0 and at most 1"),
    ("augmentation.color_jitter.contrast=[-1,1]", "augmentation.color_jitter.contrast=-1.0: allowed is at least 0"),
    ("augmentation.color_jitter.saturation=[-1,1]", "augmentation.color_jitter.saturation=-1.0: allowed is at least 0"),
    ("augmentation.color_jitter.brightness=[-1,1]", "augmentation.color_jitter.brightness=-1.0: allowed is at least 0"),
    ("model.drop_rate=1", "model.drop_rate=1.0: allowed is at least 0 and less than 1"),
    ("model.drop_path_rate=-0.1", "model.drop_path_rate=-0.1: allowed is at least 0 and less than 1"),
    ("model.resolution=0", "model.resolution=0.0: allowed is more than 0"),
    ("loss.label_smoothing=1", "loss.label_smoothing=1.0: allowed is at least 0 and less than 1"),
    ("loss.focal.gamma=-1", "loss.focal.gamma=-1.0: allowed is at least 0"),
    ("class_weights.effective_number.beta=1", "class_weights.effective_number.beta=1.0: allowed is at least 0 and less than 1"),
    ("optimizer.adam.betas=[0.9,1]", "optimizer.adam.betas=1.0: allowed is at least 0 and less than 1"),
    ("optimizer.adamw.betas=[-0.1,0.9]", "optimizer.adamw.betas=-0.1: allowed is at least 0 and less than 1"),
    ("optimizer.sgd.momentum=1", "optimizer.sgd.momentum=1.0: allowed is at least 0 and less than 1"),
    ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1.0: allowed is at least 0"),
    ("schedule.max_lr=0", "schedule.max_lr=0.0: allowed is more than 0"),
    ("schedule.max_lr=nan", "schedule.max_lr=nan: allowed is more than 0"),
    ("schedule.max_lr=inf", "schedule.max_lr=inf: allowed is more than 0 and at most 1000000"),
    ("schedule.min_lr=-1", "schedule.min_lr=-1.0: allowed is at least 0"),
    ("schedule.warmup_fraction=1.5", "schedule.warmup_fraction=1.5: allowed is at least 0 and at most 1"),
    ("schedule.step.milestones=[0,0.5]", "schedule.step.milestones=0.0: allowed is more than 0 and less than 1"),
    ("schedule.step.gamma=0", "schedule.step.gamma=0.0: allowed is more than 0 and at most 1"),
    ("training.epochs=0", "training.epochs=0: allowed is at least 1"),
    ("training.batch_size=-1", "training.batch_size=-1: allowed is at least 2 and at most 65536"),
    ("training.eval_batch_size=0", "training.eval_batch_size=0: allowed is at least 1 and at most 65536"),
    ("training.clip_norm=0", "training.clip_norm=0.0: allowed is more than 0"),
    ("training.ema_decay=1", "training.ema_decay=1.0: allowed is more than 0 and less than 1"),
    ("runtime.devices=0", "runtime.devices=0: allowed is at least 1"),
    ("runtime.threads=0", "runtime.threads=0: allowed is at least 1"),
    ("dataset.folds=1", "dataset.folds=1: allowed is at least 2"),
    ("dataset.without_fold=-1", "dataset.without_fold=-1: allowed is at least 0"),
    ("model.freeze_ratio=1.5", "model.freeze_ratio=1.5: allowed is at least 0 and at most 1"),
    ("schedule.four_phases.burnin_epochs=-1", "schedule.four_phases.burnin_epochs=-1: allowed is at least 0"),
    ("schedule.four_phases.burnin_lr=-1", "schedule.four_phases.burnin_lr=-1.0: allowed is at least 0"),
    ("schedule.four_phases.warmup_epochs=-1", "schedule.four_phases.warmup_epochs=-1: allowed is at least 0"),
    ("schedule.four_phases.flat_epochs=-1", "schedule.four_phases.flat_epochs=-1: allowed is at least 0"),
    ("schedule.four_phases.cooldown_epochs=-1", "schedule.four_phases.cooldown_epochs=-1: allowed is at least 0"),
    ("ensemble.members=0", "ensemble.members=0: allowed is at least 1 and at most 1000"),
    ("ensemble.members=2 ensemble.workers=0", "ensemble.workers=0: allowed are auto and numbers of at least 1"),
    ("ensemble.members=2 ensemble.workers=many", "ensemble.workers=many: allowed are auto and numbers of at least 1"),
    ("ensemble.combine=mean_logits", "ensemble.combine=mean_logits (did you mean mean_logit?): allowed are mean_probability, mean_logit, weighted"),
    # combinations of fields
    ("augmentation.order=[flip,no_such_operator]", f"augmentation.order=no_such_operator: allowed are {ALL_OPERATORS}"),
    ("augmentation.order=[shift,shift]", "augmentation.order=['shift', 'shift']: each operator may appear only once"),
    ("augmentation.order=[]", "augmentation.order=[]: flip is enabled but missing from it"),
    ("augmentation.color_jitter.contrast=[2,1]", "augmentation.color_jitter.contrast=[2.0, 1.0]: [LOW, HIGH] with 0 <= LOW <= HIGH"),
    ("schedule.min_lr=1", "schedule.min_lr=1.0: at most schedule.max_lr, which is 0.005"),
    ("schedule=step schedule.step.milestones=[0.7,0.5]", "schedule.step.milestones=[0.7, 0.5]: rising shares of the run's epochs, at least one"),
    ("schedule=step schedule.step.milestones=[0.5,0.5]", "schedule.step.milestones=[0.5, 0.5]: rising shares of the run's epochs, at least one"),
    ("schedule=step schedule.step.milestones=[]", "schedule.step.milestones=[]: rising shares of the run's epochs, at least one"),
    ("schedule=step schedule.step.milestones=[0.5,1]", "schedule.step.milestones=1.0: allowed is more than 0 and less than 1"),
    ("schedule=step schedule.step.milestones=[0.05,0.5]", "schedule.step.milestones=[0.05, 0.5]: the first lies within the warm-up, schedule.warmup_fraction=0.1"),
    ("loss=balanced_softmax class_weights=inverse", "class_weights=inverse: corrects twice, since loss=balanced_softmax has the classes' frequencies in its logits already; allowed is class_weights=none"),
    ("loss=logit_adjustment sampler=class_balanced", "sampler=class_balanced: corrects twice, since loss=logit_adjustment has the classes' frequencies in its logits already; allowed is sampler=instance"),
    ("loss=ldam", "loss=ldam: its margins are of cosines; add model.cosine_scale=30"),
    ("loss=ldam model.cosine_scale=5", "loss.ldam.max_margin=15.0: more than a cosine of 1, which model.cosine_scale=5.0 makes 5.0; half a cosine is 2.5"),
    ("optimizer=adam optimizer.adam.betas=[0.9]", "optimizer.adam.betas=[0.9]: two numbers, each at least 0 and less than 1"),
    ("optimizer.adamw.betas=[0.9,0.99,0.999]", "optimizer.adamw.betas=[0.9, 0.99, 0.999]: two numbers, each at least 0 and less than 1"),
    ("optimizer=sgd optimizer.sgd.nesterov=true optimizer.sgd.momentum=0", "optimizer.sgd.nesterov=True: needs optimizer.sgd.momentum above 0"),
    ("dataset.root=.", "dataset.root=.: digits are part of scikit-learn and have no folder"),
    ("dataset.imbalance.factor=1", "dataset.imbalance.factor=1.0: exponential needs a factor above 1"),
    ("runtime=cpu runtime.devices=2", "runtime.devices=2: only with runtime=xla or runtime=tpu"),
    ("schedule=four_phases training.epochs=20", "training.epochs=20: allowed is 38, the length of the schedule: burnin_epochs 3 + warmup_epochs 10 + flat_epochs 5 + cooldown_epochs 20"),
    ("optimizer=adam optimizer.sgd.momentum=0.5", "optimizer.sgd.momentum=0.5: only with optimizer=sgd, here it is adam"),
    ("optimizer.sgd={momentum:0.9,nesterov:false}", "optimizer.sgd.momentum=0.9: only with optimizer=sgd, here it is adamw"),
    ("schedule.four_phases.burnin_epochs=2", "schedule.four_phases.burnin_epochs=2: only with schedule=four_phases, here it is cosine"),
    ("schedule.four_phases.per_step=true", "schedule.four_phases.per_step=True: only with schedule=four_phases, here it is cosine"),
    ("dataset.folds=3", "dataset.folds, dataset.without_fold: one needs the other"),
    ("dataset.folds=3 dataset.without_fold=3", "dataset.without_fold=3: allowed is 0 to 2"),
    ("ensemble.members=3 ensemble.models=[a]", "ensemble.models: 1 entries for ensemble.members=3; one per member, or []"),
    ("ensemble.models=[a]", "ensemble.members=1: a single model; ensemble.models, .weights, .augmentations need more"),
    ("augmentation=none ensemble.members=2 ensemble.augmentations=[[],[flip]]", "ensemble.augmentations: flip; allowed are enabled operators: there are none; enable it with augmentation=[flip]"),
    ("ensemble.folds=true", "ensemble.folds=True: needs ensemble.members above 1, and dataset.folds=null"),
    ("ensemble.members=2 ensemble.combine=weighted dataset.validation=test", "ensemble.combine=weighted: the weights are fitted on the validation images, which needs dataset.validation=holdout, not test"),
    ("ensemble.members=2 seed=4294967294", "seed=4294967294: with ensemble.members=2 at most 2147483647"),
    # paths
    ("ensemble.members=2 ensemble.weights=[a.pth,b.pth]", "ensemble.weights=a.pth: there is no such file"),
    ("dataset=image_folder", "dataset.root: image_folder needs a folder with CLASS/IMAGE in it, or train/CLASS/IMAGE and test/CLASS/IMAGE; write dataset.root=FOLDER"),
    ("dataset=image_folder dataset.root=absent", "dataset.root=absent: there is no such folder"),
    ("dataset=cifar10 dataset.root=absent", "dataset.root=absent: there is no such folder; leave it out to download cifar10"),
    ("model.weights=absent.pt", "model.weights=absent.pt: there is no such file"),
    ("model.weights=here.txt", "model.weights=here.txt: allowed are files that end in .safetensors, .pth, .pt, .bin"),
    ("model.name=???", "model.name: a value is missing; write model.name=VALUE or choose model=NAME"),
    ("experiment=custom", "dataset.name: a value is missing; write dataset.name=VALUE or choose dataset=NAME (experiment=quickstart has one)"),
    ("loss.focal.gamma=-2 dataset.name=???", "loss.focal.gamma=-2.0: allowed is at least 0"),
    # what would have no effect
    ("optimizer=adam optimizer.decay_norm_and_bias=false", "optimizer.decay_norm_and_bias=False: has no effect: optimizer.weight_decay=0 decays nothing"),
    ("schedule=four_phases schedule.warmup_fraction=0 training.epochs=35 schedule.four_phases.burnin_epochs=0 schedule.four_phases.burnin_lr=0.1", "schedule.four_phases.burnin_lr=0.1: has no effect: schedule.four_phases.burnin_epochs=0"),
    ("class_weights.defer=0.8", "class_weights.defer=0.8: has no effect: class_weights=none has none; allowed is 0"),
    ("sampler.defer=0.8", "sampler.defer=0.8: has no effect: sampler=instance is what a deferred sampler begins with; allowed is 0"),
    ("model.cosine_scale=30 model.head_init=glorot", "model.head_init=glorot: has no effect: a head of cosines (model.cosine_scale) has an initialisation of its own"),
    ("schedule=constant schedule.warmup_fraction=0.1", "schedule.warmup_fraction=0.1: has no effect: schedule=constant has no warm-up; allowed is 0"),
    ("schedule=step schedule.warmup_fraction=0 schedule.step.milestones=[0.5] schedule.min_lr=0.001", "schedule.min_lr=0.001: has no effect: schedule=step without a warm-up ends above it"),
    ("augmentation.rotation.fill=9", "augmentation.rotation.fill=9.0: has no effect: augmentation.rotation.border=reflect fills with the mirrored image"),
    ("augmentation.shift.fill=9", "augmentation.shift.fill=9.0: has no effect: augmentation.shift.border=reflect fills with the mirrored image"),
    ("experiment=exp1 checkpoint.choose=last checkpoint.monitor=macro_f1", "checkpoint.monitor=macro_f1: has no effect: checkpoint.choose=last reports the last epoch"),
    ("ensemble.members=2 ensemble.together=stacked ensemble.folds=true", "ensemble.together=stacked: the members are one step, so they differ in seed and weights alone; ensemble.folds=True allows workers, one_by_one"),
    ("ensemble.members=2 ensemble.together=stacked ensemble.models=[a,b]", "ensemble.together=stacked: the members are one step, so they differ in seed and weights alone; ensemble.models=['a', 'b'] allows workers, one_by_one"),
    ("ensemble.members=2 ensemble.together=workers runtime=xla", "ensemble.together=workers: processes share a CPU alone; with runtime=xla allowed are one_by_one, stacked"),
    ("ensemble.members=2 ensemble.together=stacked ensemble.workers=2", "ensemble.workers=2: has no effect: ensemble.together=stacked is one process"),
    ("ensemble.members=2 ensemble.workers=2 runtime=xla", "ensemble.workers=2: has no effect: on an accelerator members train one after another"),
    ("ensemble.together=stacked", "ensemble.together=stacked: has no effect: ensemble.members=1 is a single model"),
    ("ensemble.members=2 ensemble.workers=3", "ensemble.workers=3: at most ensemble.members, which is 2"),
    ("model.pretrained=true model.weights=here.pt", "model.pretrained=True: has no effect: the weights come from a file"),
    ("ensemble.members=2 ensemble.models=[a,b] model.name=c", "model.name=c: has no effect: ensemble.models has those of the members"),
    ("optimizer=sgd optimizer.sgd=null", "optimizer.sgd=null: the settings of optimizer=sgd are a block of fields"),
    ("schedule=constant schedule.warmup_fraction=0 schedule.min_lr=0.001", "schedule.min_lr=0.001: has no effect: schedule=constant has one rate, schedule.max_lr"),
    ("schedule=four_phases training.epochs=38 schedule.warmup_fraction=0.1", "schedule.warmup_fraction=0.1: has no effect: the warm-up is schedule.four_phases.warmup_epochs; allowed is 0"),
    ("dataset.validation=test dataset.holdout_fraction=0.1", "dataset.holdout_fraction=0.1: has no effect: dataset.validation=test holds out none of the training images"),
    ("dataset.validation=none dataset.holdout_balance=proportional", "dataset.holdout_balance=proportional: has no effect: dataset.validation=none holds out none of the training images"),
    ("dataset.validation=test dataset.split_seed=0", "dataset.split_seed=0: has no effect: the training images are neither split nor divided into folds"),
    ("dataset.imbalance.profile=none dataset.imbalance.factor=10", "dataset.imbalance.factor=10.0: has no effect: dataset.imbalance.profile=none; allowed are exponential, step"),
    ("dataset.imbalance={profile:none,factor:1,subset_seed:0}", "dataset.imbalance.subset_seed=0: has no effect: dataset.imbalance.profile=none; allowed are exponential, step"),
    ("dataset.test_fraction=0.3", "dataset.test_fraction=0.3: has no effect: dataset=digits has test images of its own"),
    ("dataset=cifar10 dataset.test_seed=1", "dataset.test_seed=1: has no effect: dataset=cifar10 has test images of its own"),
    ("checkpoint.choose=last checkpoint.monitor=loss", "checkpoint.monitor=loss: has no effect: checkpoint.choose=last reports the last epoch"),
    ("dataset.validation=none checkpoint.monitor=loss", "checkpoint.monitor=loss: has no effect: without validation images the last epoch is reported"),
    ("dataset.validation=none checkpoint.choose=best", "checkpoint.choose=best: has no effect: without validation images the last epoch is reported"),
    ("ensemble.combine=mean_probability", "ensemble.combine=mean_probability: has no effect: ensemble.members=1 is a single model"),
    ("ensemble.workers=2", "ensemble.workers=2: has no effect: ensemble.members=1 is a single model"),
    ("start_sha256=abc", "start_sha256=abc: has no effect: it is filled in with start=RUN"),
    ("fresh_head=true", "fresh_head=True: has no effect: without start=RUN the head is new or loaded from model.weights"),
    ("runtime=xla runtime.compile=true", "runtime.compile=True: has no effect: runtime=xla always compiles"),
    ("runtime=xla runtime.threads=2", "runtime.threads=2: has no effect: runtime=xla manages its own threads"),
    ("runtime=xla deterministic=true", "deterministic=True: has no effect: runtime=xla has no such switch"),
]  # fmt: skip

# Valid settings that are close to invalid ones.
ACCEPTED = [
    "schedule=step schedule.step.milestones=[0.1,0.99]",
    "schedule=constant schedule.warmup_fraction=0",
    "schedule=four_phases schedule.warmup_fraction=0 training.epochs=38",
    "optimizer=sgd optimizer.sgd.momentum=0",
    "dataset.imbalance.profile=none dataset.imbalance.factor=1",
    "dataset.validation=test dataset.folds=3 dataset.without_fold=0 dataset.split_seed=1",
    "dataset.validation=test ensemble.members=2 ensemble.folds=true dataset.split_seed=1",
    "dataset.validation=test checkpoint.monitor=loss",
    "dataset.validation=none checkpoint.choose=last",
    "ensemble.members=2 ensemble.combine=mean_logit ensemble.workers=1",
    "experiment=exp1 schedule=constant schedule.min_lr=0",
    "experiment=exp1 checkpoint.choose=last",
    "schedule=constant",
    "model.pretrained=false model.weights=here.pt",
    "fresh_head=false",
    "schedule=four_phases training.epochs=38",
    "dataset.imbalance.profile=none",
    "loss=focal loss.focal.gamma=1",
    "class_weights=effective_number class_weights.effective_number.beta=0.99",
    "sampler=class_balanced",
    "controller=constant",
]  # fmt: skip

BLOCKS = [f"{group}.{name}" for group, names in choice_blocks(TrainConfig).items() for name in names]


@cache
def composed_of_groups(name, *words):
    """What Hydra composes of a program's groups; it takes a quarter of a second."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    plain = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    OmegaConf.resolve(plain)
    return plain


def composed(*words, name="train"):
    """What Hydra composes of these words; fields override groups, as in Hydra."""
    is_group = {word: (CONF / word.partition("=")[0]).is_dir() for word in words}
    config = composed_of_groups(name, *(word for word in words if is_group[word])).copy()
    for override in parse([word for word in words if not is_group[word]]):
        OmegaConf.update(config, override.key_or_group, override.value())
    return config


@pytest.fixture(scope="module")
def schemas(typed, tmp_path_factory):
    """Running a command registers its schema with Hydra."""
    for program in ("train", "evaluate"):
        assert typed(tmp_path_factory.mktemp("schemas"), program, "seed=-1").code == 2


@pytest.fixture(autouse=True)
def working_folder(schemas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("here.txt", "here.pt"):
        (tmp_path / name).touch()
    monkeypatch.setattr(consistency, "xla_is_installed", lambda: True)
    for module in (checks, consistency, effects):
        monkeypatch.setattr(module, "resolved_runtime", lambda name: name)  # no search for a TPU


def check(words):
    """The configuration of a quickstart with every augmentation and these overrides."""
    typed = words.split()
    return checked_train(composed("experiment=quickstart", "augmentation=[flip,rotation,shift,pad_crop,cutout,color_jitter]", *typed), keys(typed))  # fmt: skip


def error_of(words):
    with pytest.raises(UsageError) as caught:
        check(words)
    return str(caught.value)


@pytest.mark.parametrize(("words", "line"), RULES, ids=[words for words, _ in RULES])
def test_an_invalid_value_is_reported_with_its_field_and_what_is_allowed(words, line):
    assert error_of(words) == line


@pytest.mark.parametrize("words", ACCEPTED)
def test_settings_with_an_effect_are_accepted(words):
    check(words)


@pytest.fixture(scope="module")
def quickstart(schemas):
    """What Hydra composes for the quickstart with every operator switched on."""
    return composed("experiment=quickstart", f"augmentation=[{','.join(OPERATORS)}]", "controller=cuda")


@pytest.mark.parametrize(("path", "rule"), rules(TrainConfig).items(), ids=rules(TrainConfig))
def test_every_field_refuses_a_value_beyond_its_range_or_choices(path, rule, quickstart):
    """Of every field that has a rule, also of those still to come; the literal lines are above."""
    wrong = "no_such_name" if isinstance(rule, Choices) else int(rule.low) - 1
    config = quickstart.copy()
    is_list = isinstance(dict(leaves(TrainConfig())).get(path), list) or path.startswith("augmentation.color_jitter.")
    OmegaConf.update(config, path, [wrong] if is_list and not path.endswith("probability") else wrong)
    with pytest.raises(UsageError) as refused:
        checked_train(config)
    assert str(refused.value).startswith(f"{path}={wrong}") and "allowed" in str(refused.value)


@pytest.mark.parametrize("schema", [TrainConfig, EvaluateConfig])
def test_fields_with_fixed_names_declare_their_choices(schema):
    fields = {path for path in field_paths(schema) if path.endswith((".name", ".profile", ".validation", ".border"))}
    assert fields - {path for path, rule in rules(schema).items() if isinstance(rule, Choices)} == {"model.name"}


def test_the_quickstart_is_valid():
    assert check("").dataset.name == "digits"


def test_what_an_experiment_sets_without_effect_is_reset():
    config = check("schedule=constant dataset.imbalance.profile=none")
    assert (config.schedule.warmup_fraction, config.dataset.imbalance.factor) == (0.0, 1.0)


# ---------------------------------------------------------------- settings of one choice
def test_only_the_block_of_the_chosen_name_is_kept():
    optimizer = check("optimizer=sgd optimizer.sgd.momentum=0.8").optimizer
    assert (optimizer.sgd, optimizer.adam, optimizer.adamw) == (Sgd(momentum=0.8), None, None)
    optimizer = check("optimizer=adam").optimizer
    assert (optimizer.sgd, optimizer.adam, optimizer.adamw) == (None, Adam(), None)
    schedule = check("schedule=step schedule.step.milestones=[0.5]").schedule
    assert (schedule.step, schedule.four_phases) == (Step(milestones=[0.5]), None)
    schedule = check("schedule=four_phases schedule.warmup_fraction=0 training.epochs=38").schedule
    assert (schedule.step, schedule.four_phases) == (None, FourPhases())


def test_choices_with_settings_of_their_own_have_a_block():
    assert {"loss.focal", "optimizer.adam", "optimizer.sgd", "schedule.step", "schedule.four_phases"} <= set(BLOCKS)


@pytest.mark.parametrize("path", [path for path, _ in leaves(TrainConfig()) if path.startswith(tuple(f"{block}." for block in BLOCKS))])  # fmt: skip
def test_a_setting_of_another_choice_is_rejected_even_with_its_default(path):
    value = dict(leaves(TrainConfig()))[path]
    value = "null" if value is None else value
    group, name, _ = path.split(".")
    other = next(choice for choice in rules(TrainConfig)[f"{group}.name"] if choice != name)
    line = f"{path}={value}: only with {group}={name}, here it is {other}"
    assert error_of(f"{group}={other} {path}={str(value).replace(' ', '')}") == line


def test_a_tpu_without_its_driver_is_refused_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(consistency, "tpu_is_attached", lambda: True)
    monkeypatch.setattr(consistency, "tpu_library_is_installed", lambda: False)
    line = "runtime=tpu: libtpu, its driver, is not installed; pip install 'torch_xla[tpu]==2.9.*' installs it"
    assert error_of("runtime=tpu") == line


# ---------------------------------------------------------------- checks used by other modules
@pytest.mark.parametrize(
    ("size", "line"),
    [
        (12, "training.batch_size=12: a multiple of the number of devices is expected, which is 8"),
        (24, "training.batch_size=24: there are only 20 training images, allowed is 2 to 20"),
    ],
)
def test_a_batch_not_divisible_by_devices_or_larger_than_the_data(size, line):
    with pytest.raises(UsageError) as caught:
        check_batch_size("training.batch_size", size, devices=8, images=20)
    assert str(caught.value) == line


def evaluation_error(*words, **options):
    with pytest.raises(UsageError) as caught:
        checked_evaluate(composed("ckpt=x", "dataset=digits", *words, name="evaluate"), keys(words), **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("split=validation dataset.validation=none", "split=validation: this run has none (dataset.validation=none); allowed are test, train"),
        ("split=tests", "split=tests (did you mean test?): allowed are test, validation, train"),
        ("ensemble.combine=mean_probability", "ensemble.combine=mean_probability: has no effect: only one model is evaluated; combine several with ckpt=[A,B]"),
        ("runtime=xla runtime.threads=2", "runtime.threads=2: has no effect: runtime=xla manages its own threads"),
        ("runtime=xla deterministic=true", "deterministic=True: has no effect: runtime=xla has no such switch"),
    ],
)  # fmt: skip
def test_an_invalid_value_of_an_evaluation(words, line):
    assert evaluation_error(*words.split()) == line


@pytest.mark.parametrize("word", ["runtime=cpu", "dataset.root=.", "training.eval_batch_size=8", "seed=0"])
def test_an_evaluation_of_saved_logits_rejects_fields_of_images_and_models(word):
    line = "has no effect where saved logits are combined; allowed are ckpt, split, images, views, view_weights, reference, ensemble.combine, adjust, test_prior, auroc, open, plots"
    assert evaluation_error(word, of_saved_logits=True) == f"{word.partition('=')[0]}: {line}"


@pytest.mark.parametrize(("value", "hint"), [("adm", " (did you mean adam?)"), ("zzz", "")])
def test_the_nearest_name_is_suggested_only_if_it_is_close(value, hint):
    assert nearest(value, ["adam", "sgd"]) == hint
