"""What trains weights: optimizers by name, and what they add to a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

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


class FromScratch(LearnedOptimizer):
    """A learned optimizer of weights that nobody has trained yet, whose loss should not rise at first."""

    def check_first_losses(self, loss: float) -> None:
        """Raise FloatingPointError where one of the first 20 losses is above three times the very first.

        To be called before the step. A network that such an optimizer has destroyed does not recover.
        """
        if self.watch.is_too_high(loss):
            first = self.watch.first_loss
            raise FloatingPointError(f"the training loss is {loss:.4g}, above three times its first, {first:.4g}")


def _learned(
    weights: Iterable[nn.Parameter],
    settings: WeightOptimizerSettings,
    kind: type[LearnedOptimizer] = FromScratch,
) -> Optimizer:
    try:
        return kind(weights, load_theta(str(settings.theta)))
    except (FileNotFoundError, ValueError) as error:
        raise RunError(f"weight_optimizer.theta: {error}") from None


WEIGHT_OPTIMIZERS: Mapping[str, Callable[[Iterable[nn.Parameter], WeightOptimizerSettings], Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
    "learned": _learned,
}


def make_weight_optimizer(
    weights: Iterable[nn.Parameter], settings: WeightOptimizerSettings, *, are_trained: bool = False
) -> Optimizer:
    """The optimizer that the settings name. Raises RunError where a learned one's meta-parameters cannot be read.

    are_trained: the weights are, so that the loss may rise at first.
    """
    if are_trained and settings.name == "learned":
        return _learned(weights, settings, LearnedOptimizer)
    return WEIGHT_OPTIMIZERS[settings.name](weights, settings)


def take_step(optimizer: Optimizer, loss: Tensor) -> None:
    """A step, which shows the training loss to an optimizer that sees it; raises as `check_first_losses` does."""
    if isinstance(optimizer, FromScratch) and optimizer.watch.is_early:  # reading a number waits for the device
        optimizer.check_first_losses(loss.item())
    if isinstance(optimizer, LearnedOptimizer):
        optimizer.step(loss=loss)
    else:
        optimizer.step()


@contextmanager
def advising(optimizer: Optimizer) -> Iterator[None]:
    """Add advice to what stops a training by a learned optimizer: a figure that is not finite, or a loss that rises."""
    try:
        yield
    except FloatingPointError as error:
        if not isinstance(optimizer, LearnedOptimizer):
            raise
        advice = "weight_optimizer=learned does not train this network; use weight_optimizer=sgd or adamw"
        raise FloatingPointError(f"{error}; {advice}, in another run=") from error


def show_validation(optimizer: Optimizer, loss: float) -> None:
    """Show the validation loss to an optimizer that sees it; no weight changes."""
    if isinstance(optimizer, LearnedOptimizer):
        optimizer.observe_validation(loss)


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
