"""What trains weights: optimizers by name, their schedule, and what they add to a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from learned_optimizers import LearnedOptimizer, load_theta
from pipeline.errors import RunError
from pipeline.settings import WeightOptimizerSettings


def _sgd(weights: Iterable[nn.Parameter], settings: WeightOptimizerSettings) -> Optimizer:
    return SGD(
        weights, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay, foreach=True
    )


def _adamw(weights: Iterable[nn.Parameter], settings: WeightOptimizerSettings) -> Optimizer:
    return AdamW(
        weights, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, foreach=True
    )


def _learned(weights: Iterable[nn.Parameter], settings: WeightOptimizerSettings) -> Optimizer:
    try:
        return LearnedOptimizer(weights, load_theta(str(settings.theta)))
    except (FileNotFoundError, ValueError) as error:
        raise RunError(f"weight_optimizer.theta: {error}") from None


WEIGHT_OPTIMIZERS: Mapping[str, Callable[[Iterable[nn.Parameter], WeightOptimizerSettings], Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
    "learned": _learned,
}


def make_weight_optimizer(weights: Iterable[nn.Parameter], settings: WeightOptimizerSettings) -> Optimizer:
    """The optimizer that the settings name. Raises RunError where a learned one's meta-parameters cannot be read."""
    return WEIGHT_OPTIMIZERS[settings.name](weights, settings)


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


def take_step(optimizer: Optimizer, loss: Tensor) -> None:
    """A step, which shows the training loss to an optimizer that sees it."""
    if isinstance(optimizer, LearnedOptimizer):
        optimizer.step(loss=loss)
    else:
        optimizer.step()


def show_validation(optimizer: Optimizer, loss: float) -> None:
    """Show the validation loss to an optimizer that sees it; no weight changes."""
    if isinstance(optimizer, LearnedOptimizer):
        optimizer.observe_validation(loss)


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def multiply_weight_decay(optimizer: Optimizer, factor: float) -> None:
    """Give every parameter group `factor` times its weight decay."""
    for group in optimizer.param_groups:
        group["weight_decay"] *= factor


@torch.no_grad()
def drift(optimizer: Optimizer, weights: Sequence[Tensor]) -> list[Tensor]:
    """What a step of SGD adds to each gradient beside the gradient itself: weight decay and momentum, before clipping.

    weights - rate * (gradient + drift) are the weights after the step, where the gradient is not clipped.
    """
    (group,) = optimizer.param_groups
    extra = []
    for weight in weights:
        momentum = optimizer.state.get(weight, {}).get("momentum_buffer")
        decay = group["weight_decay"] * weight
        extra.append(decay if momentum is None else decay + group["momentum"] * momentum)
    return extra
