"""The controllers, looked up by `controller.name`."""

from __future__ import annotations

from cifar_imbalance.methods.controller import Controller
from cifar_imbalance.methods.level_controllers import BackOff, ConstantLevel, CudaController, LevelByRecall
from cifar_imbalance.methods.weight_controllers import Cdb, FalsePositiveWeights, RecallWeights

CONTROLLERS: dict[str, type[Controller]] = {
    "constant": Controller,
    "cuda": CudaController,
    "constant_level": ConstantLevel,
    "level_by_recall": LevelByRecall,
    "back_off": BackOff,
    "cdb": Cdb,
    "recall_weights": RecallWeights,
    "false_positive_weights": FalsePositiveWeights,
}
