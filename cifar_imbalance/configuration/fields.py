"""The schema of a run: every field with its type, default, range or choices, and meaning.

Each group of `conf/` has its dataclass here; `consistency.py` has the rules between fields. A block named after one of
its group's choices (`optimizer.sgd`) holds the settings of that choice alone; in a run's config.yaml it is null if
another choice is made. The experiments' YAML files contain only what differs from these defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from omegaconf import MISSING

from cifar_imbalance.configuration.tpus import TOPOLOGIES
from cifar_imbalance.configuration.values import (
    BatchSize,
    Border,
    Choices,
    Count,
    NotNegative,
    Pixel,
    Positive,
    Range,
    Seed,
    Share,
    ShareBelowOne,
    Side,
    WholeNumber,
)

# The paper's order: geometry, cutout, colour (so the filled square is jittered too).
STRONG = ("auto_augment", "rand_augment", "trivial_augment", "cuda")  # by Pillow, on the host
OPERATORS = ("flip", "rotation", "shift", "pad_crop", *STRONG, "cutout", "color_jitter")
LEVEL_CONTROLLERS = ("cuda", "constant_level", "level_by_recall", "back_off")  # of augmentation.cuda
WEIGHT_CONTROLLERS = ("cdb", "recall_weights", "false_positive_weights")  # by validation metrics
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
# Of a search, each with whether more of it is better.
OBJECTIVES = {
    **dict.fromkeys(("accuracy", "macro_f1", "worst_decile_recall", "worst_recall"), True),
    **dict.fromkeys(("loss", "recall_sd", "calibration_error"), False),
}
COMBINATIONS = Choices("mean_probability", "mean_logit", "weighted")


# ---------------------------------------------------------------- data
@dataclass
class Imbalance:
    """A long-tailed subset of the training images (Cao 2019): class 0 is the largest, the last the smallest."""

    profile: Annotated[str, Choices("none", "exponential", "step")] = "none"
    factor: Annotated[float, Range(1)] = 1.0  # images of the largest class over images of the smallest
    subset_seed: Seed = 0  # which images are kept


@dataclass
class Dataset:
    name: Annotated[str, Choices("cifar10", "cifar100", "image_folder", "digits")] = MISSING
    root: str | None = None  # folder of the images; digits needs none
    cache_dir: str = "~/.cache/cifar_imbalance"  # decoded images
    image_size: Side | None = None  # side in pixels after decoding; null keeps the original size
    # of image_folder without train/ and test/ in it: share of each class's images that are test images ...
    test_fraction: Annotated[float, Range(0, 1, low_open=True, high_open=True)] = 0.2
    test_seed: Seed = 0  # ... and which ones
    # holdout: held out from the training images | test: the test images, as papers that report the best epoch do | none
    validation: Annotated[str, Choices("holdout", "test", "none")] = "holdout"
    holdout_fraction: Annotated[float, Range(0, 1, low_open=True, high_open=True)] = 0.1  # share of the training images
    # balanced: the same number from each class | proportional: the same share of each class
    holdout_balance: Annotated[str, Choices("balanced", "proportional")] = "balanced"
    split_seed: Seed = 0  # which images are used for validation
    folds: Annotated[int, Range(2)] | None = (
        None  # divide the training images into this many stratified folds by split_seed ...
    )
    without_fold: WholeNumber | None = None  # ... and leave this one out, from 0
    imbalance: Imbalance = field(default_factory=Imbalance)


# ---------------------------------------------------------------- augmentation, on values of 0..255 at the images' size
@dataclass
class Flip:
    probability: Share = 0.5  # horizontal
    vertical_probability: Share = 0.0  # vertical


@dataclass
class Rotation:
    max_degrees: Annotated[float, Range(0, 180)] = 15.0  # each way
    border: Border = "reflect"
    fill: Pixel = 0.0


@dataclass
class Shift:
    height_fraction: ShareBelowOne = 0.1  # of the side, up and down
    width_fraction: ShareBelowOne = 0.1  # of the side, left and right
    border: Border = "reflect"
    fill: Pixel = 0.0


@dataclass
class PadCrop:
    padding: WholeNumber = 4  # pixels
    fill: Pixel = 0.0


@dataclass
class AutoAugment:
    """CIFAR-10's policy (Cubuk 2019)."""

    fill: Pixel = 128.0


@dataclass
class RandAugment:
    operators: Annotated[int, Range(1, 10)] = 2  # for each image
    magnitude: Annotated[float, Range(0, 30)] = 9.0
    fill: Pixel = 128.0


@dataclass
class TrivialAugment:
    fill: Pixel = 128.0


@dataclass
class Cuda:
    """As many operators as the level of the image's class, 0 to 10, which a controller sets."""

    table: Annotated[str, Choices("published", "monotone")] = "published"
    probability: Share = 0.5
    fill: Pixel = 0.0


@dataclass
class Cutout:
    count: Annotated[int, Range(1, 1000)] = 1  # squares in an image
    size_fraction: Annotated[float, Range(0, 1, low_open=True)] = 0.25  # side of a square over side of the image
    fill: Pixel = 127.0


@dataclass
class ColorJitter:
    probability: Share = 1.0
    contrast: list[NotNegative] = field(default_factory=lambda: [1.0, 1.0])  # range of the factor
    saturation: list[NotNegative] = field(default_factory=lambda: [1.0, 1.0])
    brightness: list[NotNegative] = field(default_factory=lambda: [1.0, 1.0])


@dataclass
class Augmentation:
    order: list[Annotated[str, Choices(*OPERATORS)]] = field(
        default_factory=lambda: list(OPERATORS)
    )  # in which the enabled ones are applied
    flip: Flip | None = None
    rotation: Rotation | None = None
    shift: Shift | None = None
    pad_crop: PadCrop | None = None
    auto_augment: AutoAugment | None = None
    rand_augment: RandAugment | None = None
    trivial_augment: TrivialAugment | None = None
    cuda: Cuda | None = None
    cutout: Cutout | None = None
    color_jitter: ColorJitter | None = None


# ---------------------------------------------------------------- model and training
@dataclass
class Model:
    name: str = MISSING  # any timm model
    pretrained: bool = False  # weights from timm's hub
    weights: str | None = None  # a local .safetensors, .pth, .pt or .bin, instead of the hub
    # of a new head: timm (timm's default) | glorot (uniform, bias 0, as Keras' Dense)
    head_init: Annotated[str, Choices("timm", "glorot")] = "timm"
    # if set, the head gives cosines times this scale, without a bias (30 for loss=ldam)
    cosine_scale: Positive | None = None
    # with start: of the head only a factor of each class's logit is learnt (LWS)
    class_factors: bool = False
    drop_rate: ShareBelowOne = 0.0  # dropout before the head
    drop_path_rate: ShareBelowOne = 0.0  # stochastic depth
    resolution: Positive | None = None  # input side as a factor of the model's native side; null: the images' own side
    freeze_ratio: Share = 0.0  # share of the base's layers, from the input, that is frozen
    freeze_batch_norm: bool = False  # batch norms keep their initial statistics; those of frozen layers always do


@dataclass
class Focal:
    gamma: NotNegative = 2.0  # 0 is cross-entropy


@dataclass
class Ldam:
    max_margin: NotNegative = 15.0  # of the rarest class, in units of the logits: 0.5 of a cosine at a scale of 30


@dataclass
class LogitAdjustment:
    tau: NotNegative = 1.0  # 0 is cross-entropy, 1 is balanced_softmax


@dataclass
class Loss:
    name: Annotated[str, Choices("cross_entropy", "focal", "ldam", "balanced_softmax", "logit_adjustment", "gml")] = (
        "cross_entropy"
    )
    label_smoothing: ShareBelowOne = 0.0
    focal: Focal | None = field(default_factory=Focal)
    ldam: Ldam | None = field(default_factory=Ldam)
    logit_adjustment: LogitAdjustment | None = field(default_factory=LogitAdjustment)


@dataclass
class Mixup:
    alpha: Positive = 1.0  # the image's share is drawn from Beta(alpha, alpha)


@dataclass
class Cutmix:
    alpha: Positive = 1.0  # the share of the pixels that stay is drawn from Beta(alpha, alpha)
    probability: Share = 0.5  # of a batch


@dataclass
class Remix:
    alpha: Positive = 1.0  # the image's share is drawn from Beta(alpha, alpha)
    kappa: Annotated[float, Range(1)] = 3.0  # times as frequent that one class must be
    tau: Share = 0.5  # share of the frequent class's image below which the label is the rarer class's alone


@dataclass
class Cmo:
    alpha: Positive = 1.0  # the share of the pixels that stay is drawn from Beta(alpha, alpha)
    probability: Share = 0.5  # of a batch
    power: NotNegative = 1.0  # an image of a class of n is pasted in proportion to n^-power


@dataclass
class Mixing:
    name: Annotated[str, Choices("none", "mixup", "cutmix", "remix", "cmo")] = "none"
    until: Share = 1.0  # share of the run's epochs in which images are mixed; those after it are plain
    mixup: Mixup | None = field(default_factory=Mixup)
    cutmix: Cutmix | None = field(default_factory=Cutmix)
    remix: Remix | None = field(default_factory=Remix)
    cmo: Cmo | None = field(default_factory=Cmo)


@dataclass
class EffectiveNumber:
    beta: ShareBelowOne = 0.9999


@dataclass
class ClassWeights:
    """The weight of each class in the loss, by its number of training images."""

    name: Annotated[str, Choices("none", "inverse", "square_root_inverse", "effective_number")] = "none"
    defer: Share = (
        0.0  # share of the run's epochs before they apply, a controller's too; until then all weights are equal
    )
    effective_number: EffectiveNumber | None = field(default_factory=EffectiveNumber)


@dataclass
class Sampler:
    name: Annotated[str, Choices("instance", "square_root", "class_balanced", "progressively_balanced")] = "instance"
    # share of the run's epochs before it applies; until then it is instance (progressively_balanced goes on unseen)
    defer: Share = 0.0


@dataclass
class CudaLevels:
    """Before each epoch a class's level of augmentation.cuda rises by one, or falls if its images are not known."""

    draws: Annotated[int, Range(1, 1000)] = 10  # times level + 1: images of a class that are classified at each level
    threshold: Share = 0.6  # share of them that must be right, at every level up to the class's own


@dataclass
class ConstantLevel:
    """All classes have the same level of augmentation.cuda."""

    level: Annotated[int, Range(0, 10)] = 5


@dataclass
class LevelByRecall:
    """After each epoch, levels of augmentation.cuda by the rank of each class's recall on the validation images."""

    strong_for: Annotated[str, Choices("easy", "hard")] = "easy"  # the classes that have the highest levels
    highest: Annotated[int, Range(1, 10)] = 10  # level
    momentum: ShareBelowOne = 0.9  # of the recalls' exponential average; 0: the last epoch alone


@dataclass
class BackOff:
    """A level of augmentation.cuda falls where the class's share of the false positives grows, and rises elsewhere."""

    start: Annotated[int, Range(0, 10)] = 5  # level of all classes
    tolerance: NotNegative = 0.02  # growth in an epoch, as a share of it, that is not counted
    momentum: ShareBelowOne = 0.9  # of the shares' exponential average; 0: the last epoch alone


@dataclass
class Cdb:
    power: NotNegative | None = None  # of 1 - recall; null: CDB's dynamic one


@dataclass
class DifficultyWeights:
    """Class weights by difficulty on the validation images, to a power, of mean 1, then clipped."""

    power: NotNegative = 1.0
    momentum: ShareBelowOne = 0.9  # of the difficulty's exponential average; 0: the last epoch alone
    lowest: Share = 0.5  # weight
    highest: Annotated[float, Range(1)] = 2.0  # weight


@dataclass
class Controller:
    """Sets class weights, or each class's strength of augmentation, between the epochs."""

    name: Annotated[str, Choices("constant", *LEVEL_CONTROLLERS, *WEIGHT_CONTROLLERS)] = "constant"
    cuda: CudaLevels | None = field(default_factory=CudaLevels)
    constant_level: ConstantLevel | None = field(default_factory=ConstantLevel)
    level_by_recall: LevelByRecall | None = field(default_factory=LevelByRecall)
    back_off: BackOff | None = field(default_factory=BackOff)
    cdb: Cdb | None = field(default_factory=Cdb)
    recall_weights: DifficultyWeights | None = field(default_factory=DifficultyWeights)
    false_positive_weights: DifficultyWeights | None = field(default_factory=DifficultyWeights)


@dataclass
class Distillation:
    """With teacher=RUN: the loss of an image is in part its distance from the teacher's softened probabilities."""

    temperature: Positive = 2.0  # that softens the teacher's and the student's probabilities
    hard_share: ShareBelowOne = 0.1  # of the labels' own loss; the rest is the teacher's
    # all: the same share for every class | by_recall: times the teacher's recall of the class on validation images
    trust: Annotated[str, Choices("all", "by_recall")] = "all"


@dataclass
class Adam:
    betas: list[ShareBelowOne] = field(default_factory=lambda: [0.9, 0.999])


@dataclass
class Sgd:
    momentum: ShareBelowOne = 0.9
    nesterov: bool = False


@dataclass
class Optimizer:
    name: Annotated[str, Choices("adam", "adamw", "sgd")] = MISSING
    weight_decay: NotNegative = 0.0
    decay_norm_and_bias: bool = True
    adam: Adam | None = field(default_factory=Adam)
    adamw: Adam | None = field(default_factory=Adam)
    sgd: Sgd | None = field(default_factory=Sgd)


@dataclass
class Step:
    # shares of the run's epochs at which the rate is reduced
    milestones: list[Annotated[float, Range(0, 1, low_open=True, high_open=True)]] = field(
        default_factory=lambda: [0.5, 0.8]
    )
    gamma: Annotated[float, Range(0, 1, low_open=True)] = 0.1  # factor of each reduction


@dataclass
class FourPhases:
    """Iwamoto 2023, experiment 1; the epochs of the phases add up to training.epochs."""

    burnin_epochs: WholeNumber = 3  # only the head is trained
    burnin_lr: NotNegative = 0.0001
    warmup_epochs: WholeNumber = 10
    flat_epochs: WholeNumber = 5
    cooldown_epochs: WholeNumber = 20
    per_step: bool = False  # the rate changes with every step; false: with every epoch, as in the paper


@dataclass
class Schedule:
    name: Annotated[str, Choices("constant", "cosine", "step", "four_phases")] = MISSING
    max_lr: Positive = 0.001
    min_lr: NotNegative = 0.0  # start of warm-up and end of decay; all but constant
    warmup_fraction: Share = 0.0  # share of the run's epochs; cosine, step
    step: Step | None = field(default_factory=Step)
    four_phases: FourPhases | None = field(default_factory=FourPhases)


@dataclass
class Training:
    epochs: Count = 10
    batch_size: BatchSize = 32
    eval_batch_size: Annotated[int, Range(1, 65536)] = 512
    clip_norm: Positive | None = None  # largest gradient norm
    ema_decay: Annotated[float, Range(0, 1, low_open=True, high_open=True)] | None = (
        None  # if set, the averaged weights are evaluated
    )
    # if set, after each epoch the head's class vectors are cut to a largest norm (MaxNorm): this share of the way from
    # the smallest to the largest of their norms at the run's start
    head_max_norm: Share | None = None


@dataclass
class Checkpoint:
    # a metric on the validation images; on the test images where dataset.validation is test
    monitor: Annotated[str, Choices("macro_f1", "accuracy", "worst_recall", "loss")] = "macro_f1"
    # the reported epoch: best by monitor | last; without validation it is the last
    choose: Annotated[str, Choices("best", "last")] = "best"


@dataclass
class Ensemble:
    """Models trained with the same settings and combined. They differ by seed: member k has seed * members + k."""

    members: Annotated[int, Range(1, 1000)] = 1  # 1: a single model
    # stacked: all members in one step; null: workers, which are processes, on a CPU, elsewhere one_by_one
    together: Annotated[str, Choices("workers", "one_by_one", "stacked")] | None = None
    workers: str = "auto"  # parallel processes: auto (by the number of cores) or a number
    combine: Annotated[str, COMBINATIONS] = "mean_probability"  # weighted: weights fitted on the validation images
    # Further differences: one entry per member.
    models: list[str] = field(default_factory=list)  # model.name
    weights: list[str] = field(default_factory=list)  # model.weights
    augmentations: list[list[str]] = field(default_factory=list)  # enabled operators
    folds: bool = False  # member k trains without fold k of the training images


@dataclass
class Runtime:
    name: Annotated[str, Choices("auto", "cpu", "cuda", "xla", "tpu")] = "auto"
    devices: Count | None = None  # xla: devices of XLA's CPU client; null: 1, or all cores of a TPU
    threads: Count | None = None  # cpu: null: the cores that are free when the run starts
    precision: Annotated[str, Choices("float32", "bfloat16")] = "float32"  # bfloat16: by autocast
    compile: bool = False  # torch.compile on cpu and cuda; xla always compiles


@dataclass
class Plots:
    png: bool = True
    dpi: Annotated[int, Range(50, 600)] = 200  # of the PNG files
    pdf: bool = True  # beside each PNG, with TrueType fonts


@dataclass
class TrainConfig:
    experiment: str = "custom"
    seed: Seed = 0
    deterministic: bool = False  # reject operations without a deterministic form (matters on cuda)
    open: bool = False  # report.html in a browser, at the end
    # trackers that receive metrics, configuration and report beside the run's own files; a name or a list of them
    logger: Annotated[Any, Choices(*TRACKERS)] = field(default_factory=list)
    resume: str | None = None  # run folder to continue
    repeat: str | None = None  # run folder whose configuration a new run uses
    start: str | None = None  # run folder whose configuration and reported weights a new run starts from
    start_sha256: str | None = None  # of the checkpoint with these weights; filled in automatically
    fresh_head: bool = False  # with start: reinitialise the head
    teacher: str | None = None  # RUN, or a folder of `evaluate.py ckpt=RUN split=train`: logits to learn from
    teacher_sha256: str | None = None  # of these logits; filled in automatically
    dataset: Dataset = field(default_factory=Dataset)
    augmentation: Augmentation = field(default_factory=Augmentation)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    class_weights: ClassWeights = field(default_factory=ClassWeights)
    sampler: Sampler = field(default_factory=Sampler)
    mixing: Mixing = field(default_factory=Mixing)
    controller: Controller = field(default_factory=Controller)
    distillation: Distillation = field(default_factory=Distillation)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    training: Training = field(default_factory=Training)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    ensemble: Ensemble = field(default_factory=Ensemble)
    runtime: Runtime = field(default_factory=Runtime)
    plots: Plots = field(default_factory=Plots)


@dataclass
class Evaluating:
    eval_batch_size: Annotated[int, Range(1, 65536)] = 512


@dataclass
class Combining:
    combine: Annotated[str, COMBINATIONS] = "mean_probability"  # weighted: weights fitted on the validation images


@dataclass
class AdjustByPrior:
    tau: NotNegative | None = None  # null: fitted on the validation images


@dataclass
class TauNormalization:
    tau: Share | None = None  # null: fitted on the validation images


@dataclass
class ClassBias:
    power: NotNegative = 0.5  # the larger, the more the worst classes count; 0: a geometric mean
    penalty: NotNegative = 0.001  # on the mean square of the bias


@dataclass
class VectorScaling:
    penalty: NotNegative = 0.001  # on the mean square of what is fitted


@dataclass
class Adjust:
    """What is done to saved logits, by numbers that are given or fitted on the validation images."""

    name: Annotated[
        str,
        Choices("none", "logit_adjustment", "tau_normalization", "class_bias", "temperature", "vector_scaling"),
    ] = "none"
    logit_adjustment: AdjustByPrior | None = field(default_factory=AdjustByPrior)
    tau_normalization: TauNormalization | None = field(default_factory=TauNormalization)
    class_bias: ClassBias | None = field(default_factory=ClassBias)
    vector_scaling: VectorScaling | None = field(default_factory=VectorScaling)


@dataclass
class ShiftedPrior:
    """Of saved logits, those of a long-tailed part of the images; forward: class 0 is the largest, as in training."""

    profile: Annotated[str, Choices("none", "forward", "backward")] = "none"
    factor: Annotated[float, Range(1)] = 10.0  # images of the largest class over images of the smallest
    seed: Seed = 0  # which images are kept


@dataclass
class EvaluateConfig:
    ckpt: Any = MISSING  # run folder, checkpoint of a run, or file of weights; a list of run folders is an ensemble
    split: Annotated[str, Choices("test", "validation", "train")] = "test"
    # test images other than the run's: a folder of CLASS/IMAGE or test/CLASS/IMAGE, whose classes are some of the run's
    images: str | None = None
    group_by: Any = None  # with a folder of runs, such as a sweep's, as ckpt: a field or a list of fields; a table
    baseline: str | None = None  # with group_by: the group that the others are compared with; null: the first
    # of each image, whose logits are averaged: the image and its mirror image, its shifts by 1/16 of the side each way
    views: Annotated[str, Choices("none", "flip", "shift", "flip_shift")] = "none"
    # by_class: of each class's logit, learnt on the validation images, for each model
    view_weights: Annotated[str, Choices("equal", "by_class")] = "equal"
    reference: str | None = None  # paper/exp2, paper/exp3 or a run folder, to compare the results with
    open: bool = False  # report.html in a browser, at the end
    seed: Seed = 0
    deterministic: bool = False
    dataset: Dataset = field(default_factory=Dataset)
    model: Model = field(default_factory=Model)
    ensemble: Combining = field(default_factory=Combining)
    adjust: Adjust = field(default_factory=Adjust)
    test_prior: ShiftedPrior = field(default_factory=ShiftedPrior)
    auroc: bool = False  # also the area under the ROC curve of each class against all others, report/auroc.csv
    training: Evaluating = field(default_factory=Evaluating)
    runtime: Runtime = field(default_factory=Runtime)
    plots: Plots = field(default_factory=Plots)


# ---------------------------------------------------------------- plots of the data
@dataclass
class FiguresConfig:
    output: str = MISSING  # folder for samples.png, augmented.png, class_counts.png
    seed: Seed = 0  # which images are shown, and how they are augmented
    dataset: Dataset = field(default_factory=Dataset)
    augmentation: Augmentation = field(default_factory=Augmentation)
    plots: Plots = field(default_factory=Plots)


# ---------------------------------------------------------------- use of a trained model
@dataclass
class ExportConfig:
    ckpt: str = MISSING  # run folder of a single model
    # timm: a folder that timm reads | torch: a program of torch.export | onnx: an ONNX file
    format: Annotated[str, Choices("timm", "torch", "onnx")] = "timm"
    output: str = MISSING  # folder for the model and classes.json


@dataclass
class PredictConfig:
    ckpt: Any = MISSING  # run folder, of a model or an ensemble; a list of run folders is an ensemble
    images: str = MISSING  # an image, or a folder of images and folders
    top: Count = 5  # classes of each image
    views: Annotated[str, Choices("none", "flip", "shift", "flip_shift")] = "none"  # as evaluate.py's
    ensemble: Combining = field(default_factory=Combining)
    adjust: Adjust = field(default_factory=Adjust)
    eval_batch_size: Annotated[int, Range(1, 65536)] = 512
    runtime: Runtime = field(default_factory=Runtime)
    output: str = MISSING  # folder for predictions.csv


# ---------------------------------------------------------------- searching for settings, and trackers
@dataclass
class Searching:
    trials: Count = MISSING  # runs, in all: also those of earlier processes and of others that share the folder
    # of the validation images of each trial, by its reported epoch
    objectives: list[Annotated[str, Choices(*OBJECTIVES)]] = field(
        default_factory=lambda: ["accuracy", "worst_decile_recall"]
    )
    output: str = MISSING  # folder of the search; one that has it goes on
    open: bool = False  # report.html in a browser, at the end


@dataclass
class SearchConfig(TrainConfig, Searching):
    """A search: what all its trials share. What is searched is typed as FIELD=interval(LOW,HIGH) or FIELD=A,B."""


@dataclass
class TrackConfig:
    ckpt: str = MISSING  # folder of a finished run, of a model or an ensemble
    logger: Annotated[Any, Choices(*TRACKERS)] = MISSING  # trackers that receive it; a name or a list of them


# ---------------------------------------------------------------- the benchmark
XLA_ROWS = ("xla_step", "xla_loop")  # our bare step and our loop on XLA's device
BENCHMARK_ROWS = (
    "loop",  # the whole training loop, augmentation and records included
    "step",  # its bare step on one batch: model, loss, gradient, optimiser
    "step_compiled",  # the same through torch.compile
    "channels_last_fused",  # timm's model in channels_last with torch's fused Adam
    "plain",  # timm's model and torch's Adam as they are
    "dataloader_loop",  # plain, with images from a DataLoader with torchvision's transforms
    "keras",  # Keras' EfficientNet, in its own Python
    *XLA_ROWS,
)


@dataclass
class BenchmarkConfig:
    rows: list[Annotated[str, Choices(*BENCHMARK_ROWS)]] = field(
        default_factory=lambda: list(BENCHMARK_ROWS)
    )  # what is timed
    output: str = MISSING  # folder for benchmark.json and benchmark.png
    rounds: Count = 9  # timed rounds of all rows, after one warm-up round
    steps: Count = 12  # of a row per round
    batch_size: BatchSize = 32
    image_size: Side = 32  # side in pixels of the model's input in every row; overrides model.resolution
    class_count: Annotated[int, Range(2)] = 10
    profile: bool = False  # also profile a step, operator by operator
    keras_python: str | None = None  # a Python with TensorFlow, for row keras
    augmentation: Augmentation = field(default_factory=Augmentation)  # of row loop
    model: Model = field(default_factory=Model)
    runtime: Runtime = field(default_factory=Runtime)  # runtime.compile applies to row loop
    plots: Plots = field(default_factory=Plots)


# ---------------------------------------------------------------- an experiment on a TPU that is not here
@dataclass
class Preflighting:
    topology: Annotated[str, Choices(*TOPOLOGIES)] = MISSING  # generation and chips of a slice of one host
    # compile models with none and with one of each row of alike blocks, and extrapolate to the whole one
    stand_in: bool = False
    largest_batch: bool = True  # also look for the largest batch that fits; two or three compilations more
    output: str = MISSING  # folder for preflight.json and preflight.txt


@dataclass
class PreflightConfig(TrainConfig, Preflighting):
    """A pre-flight: an experiment as it would be trained, and the TPU that it is compiled for."""
