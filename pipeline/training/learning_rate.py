"""The schedule of the learning rate."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from pipeline.settings import WeightOptimizerSettings


def cosine(epoch: float, epochs: int, first: float, last: float) -> float:
    """Learning rate of an epoch: half a cosine from `first` towards `last` (Loshchilov & Hutter 2017)."""
    return last + (first - last) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def rate_of_epoch(settings: WeightOptimizerSettings, epoch: float, epochs: int, final_rate: float) -> float:
    """Learning rate after `epoch` epochs, whole or not.

    Of a learned optimizer 1, a factor of steps that have their own schedule in them.
    """
    if settings.name == "learned":
        return 1.0
    return cosine(epoch, epochs, settings.learning_rate, settings.learning_rate * final_rate)


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
