"""The schema of a run: every field, its type, its default and what it means.

Each group of `conf/` has its dataclass here; `checks.py` judges the values. The experiments' YAML files say only what
differs from these defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

VALIDATIONS = ("holdout", "test", "none")
BALANCES = ("balanced", "proportional")
PROFILES = ("none", "exponential", "step")
# The paper's order: geometry, cutout, colour (so the filled square is coloured too).
OPERATORS = ("flip", "rotation", "shift", "pad_crop", "cutout", "color_jitter")
COMBINATIONS = ("mean_probability", "mean_logit", "weighted")


# ---------------------------------------------------------------- data
@dataclass
class Imbalance:
    """A long-tailed subset of the training images (Cao 2019): class 0 is the largest, the last the smallest."""

    profile: str = "none"  # none | exponential | step
    factor: float = 1.0  # images of the largest class over images of the smallest
    subset_seed: int = 0  # which images are kept


@dataclass
class Dataset:
    name: str = MISSING  # cifar10 | cifar100 | image_folder | digits
    root: str | None = None  # folder of the images; digits needs none
    cache_dir: str = "~/.cache/cifar_imbalance"  # decoded images
    image_size: int | None = None  # side in pixels after decoding; null keeps the images' own
    validation: str = "holdout"  # holdout: cut from the training images | test: the test images | none
    holdout_fraction: float = 0.1  # share of the training images
    holdout_balance: str = "balanced"  # balanced: equally many of each class | proportional
    split_seed: int = 0  # which images validate
    folds: int | None = None  # divide the training images, stratified, into so many folds by split_seed ...
    without_fold: int | None = None  # ... and leave this one out, from 0
    imbalance: Imbalance = field(default_factory=Imbalance)


# ---------------------------------------------------------------- augmentation, on values of 0..255 at the images' size
@dataclass
class Flip:
    probability: float = 0.5  # left and right
    vertical_probability: float = 0.0  # top and bottom


@dataclass
class Rotation:
    max_degrees: float = 15.0  # each way
    border: str = "reflect"  # reflect | constant
    fill: float = 0.0


@dataclass
class Shift:
    height_fraction: float = 0.1  # of the side, up and down
    width_fraction: float = 0.1  # of the side, left and right
    border: str = "reflect"  # reflect | constant
    fill: float = 0.0


@dataclass
class PadCrop:
    padding: int = 4  # pixels
    fill: float = 0.0


@dataclass
class Cutout:
    count: int = 1  # squares in an image
    size_fraction: float = 0.25  # side of a square over side of the image
    fill: float = 127.0


@dataclass
class ColorJitter:
    probability: float = 1.0
    contrast: list[float] = field(default_factory=lambda: [1.0, 1.0])  # range of the factor
    saturation: list[float] = field(default_factory=lambda: [1.0, 1.0])
    brightness: list[float] = field(default_factory=lambda: [1.0, 1.0])


@dataclass
class Augmentation:
    order: list[str] = field(default_factory=lambda: list(OPERATORS))  # in which the present ones are applied
    flip: Flip | None = None
    rotation: Rotation | None = None
    shift: Shift | None = None
    pad_crop: PadCrop | None = None
    cutout: Cutout | None = None
    color_jitter: ColorJitter | None = None


# ---------------------------------------------------------------- model and training
@dataclass
class Model:
    name: str = MISSING  # any model of timm
    pretrained: bool = False  # weights from timm's hub
    weights: str | None = None  # a local .safetensors, .pth, .pt or .bin, instead of the hub
    head_init: str = "timm"  # of a new head: timm (as timm makes it) | glorot (uniform, bias 0, as Keras' Dense)
    drop_rate: float = 0.0  # dropout before the head
    drop_path_rate: float = 0.0  # stochastic depth
    resolution: float | None = None  # input side as a factor of the model's native side; null: the images' own side
    freeze_ratio: float = 0.0  # share of the base's layers, from the input, that is never trained
    freeze_batch_norm: bool = False  # batch norms use the statistics that they came with; a frozen layer's always do


@dataclass
class Loss:
    name: str = "cross_entropy"
    label_smoothing: float = 0.0


@dataclass
class Optimizer:
    name: str = MISSING  # adam | adamw | sgd
    momentum: float = 0.9  # sgd
    nesterov: bool = False  # sgd
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])  # adam, adamw
    weight_decay: float = 0.0
    decay_norm_and_bias: bool = True


@dataclass
class Schedule:
    name: str = MISSING  # constant | cosine | step | burnin_warmup_flat_cooldown
    max_lr: float = 0.001
    min_lr: float = 0.0  # where warm-up starts and cooling ends
    warmup_epochs: float = 0.0  # all but constant
    milestones: list[int] = field(default_factory=list)  # step: epochs, from 0, at which the rate falls
    gamma: float = 0.1  # step: factor of each fall
    # burnin_warmup_flat_cooldown; the epochs of its four phases make up training.epochs
    burnin_epochs: int = 0  # only the head learns
    burnin_lr: float = 0.0001
    flat_epochs: int = 0
    cooldown_epochs: int = 0
    per_step: bool = False  # the rate changes with every step; false: with every epoch, as in the paper


@dataclass
class Training:
    epochs: int = 10
    batch_size: int = 32
    eval_batch_size: int = 512
    clip_norm: float | None = None  # largest gradient norm
    ema_decay: float | None = None  # the averaged weights are then the ones that are judged


@dataclass
class Checkpoint:
    monitor: str = "macro_f1"  # macro_f1 | accuracy | worst_recall | loss, of the validation images
    choose: str = "best"  # reported epoch: best by monitor | last; without validation it is the last


@dataclass
class Ensemble:
    """Models that are trained alike and combined. They differ by seed: member k has seed * members + k."""

    members: int = 1  # 1: a single model
    workers: str = "auto"  # processes that train side by side on a CPU: auto (by the cores) or a number
    combine: str = "mean_probability"  # mean_probability | mean_logit | weighted (by the validation images)
    # What else differs: one entry for each member.
    models: list[str] = field(default_factory=list)  # model.name
    weights: list[str] = field(default_factory=list)  # model.weights
    augmentations: list[list[str]] = field(default_factory=list)  # operators, of those that are switched on
    folds: bool = False  # member k trains without fold k of the training images


@dataclass
class Runtime:
    name: str = "auto"  # auto | cpu | cuda | xla | tpu
    devices: int | None = None  # xla: devices of XLA's CPU client; null is 1, or all cores of a TPU
    threads: int | None = None  # cpu: null is all cores
    precision: str = "float32"  # float32 | bfloat16 (autocast)
    compile: bool = False  # torch.compile on cpu and cuda; xla always compiles


@dataclass
class TrainConfig:
    experiment: str = "custom"
    seed: int = 0
    deterministic: bool = False  # refuse operations without a deterministic form (matters on cuda)
    resume: str | None = None  # run folder to go on with
    dataset: Dataset = field(default_factory=Dataset)
    augmentation: Augmentation = field(default_factory=Augmentation)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    training: Training = field(default_factory=Training)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    ensemble: Ensemble = field(default_factory=Ensemble)
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class Judging:
    eval_batch_size: int = 512


@dataclass
class Combining:
    combine: str = "mean_probability"  # mean_probability | mean_logit | weighted (by the validation images)


@dataclass
class EvaluateConfig:
    ckpt: Any = MISSING  # run folder, checkpoint of a run, or file of weights; a list of run folders is an ensemble
    split: str = "test"  # test | validation | train
    reference: str | None = None  # paper/exp2, paper/exp3 or a run folder, to lay the figures beside
    seed: int = 0
    deterministic: bool = False
    dataset: Dataset = field(default_factory=Dataset)
    model: Model = field(default_factory=Model)
    ensemble: Combining = field(default_factory=Combining)
    training: Judging = field(default_factory=Judging)
    runtime: Runtime = field(default_factory=Runtime)


# ---------------------------------------------------------------- pictures of the data
@dataclass
class FiguresConfig:
    output: str = MISSING  # folder for samples.png, augmented.png, class_counts.png
    seed: int = 0  # which images are shown, and how they are augmented
    dataset: Dataset = field(default_factory=Dataset)
    augmentation: Augmentation = field(default_factory=Augmentation)


# ---------------------------------------------------------------- the benchmark
BENCHMARK_ROWS = (
    "loop",  # the whole training loop, augmentation and records included
    "step",  # its bare step on one batch: model, loss, gradient, optimiser
    "step_compiled",  # the same through torch.compile
    "channels_last_fused",  # timm's model in channels_last with torch's fused Adam
    "plain",  # timm's model and torch's Adam as they are
    "dataloader_loop",  # plain, fed by a DataLoader with torchvision's transforms
    "keras",  # Keras' EfficientNet, in a Python of its own
    "xla_step",  # our bare step on XLA's device
)


@dataclass
class BenchmarkConfig:
    rows: list[str] = field(default_factory=lambda: list(BENCHMARK_ROWS))  # what is timed
    output: str = MISSING  # folder for benchmark.json and benchmark.png
    rounds: int = 9  # timed ones, in which each row has its turn; one more before them warms up
    steps: int = 12  # of a row in a round
    batch_size: int = 32
    image_size: int = 32  # side in pixels of what the model gets, in every row, whatever model.resolution is
    class_count: int = 10
    profile: bool = False  # also where the time of a step goes, operator by operator
    keras_python: str | None = None  # a Python that has TensorFlow, for the row keras
    augmentation: Augmentation = field(default_factory=Augmentation)  # of the row loop
    model: Model = field(default_factory=Model)
    runtime: Runtime = field(default_factory=Runtime)  # runtime.compile is of the row loop
