"""Hand-designed optimizers as pure functions, in the form of learned ones: many rates, tasks and seeds in one call.

Their "theta" is one tensor, the learning rate, so that a sweep over rates is a batch like one over perturbations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

RATE = "learning_rate"
MOMENTUM = 0.9  # of sgd
BETAS = (0.9, 0.999)  # of adam
SMOOTHING = 0.99  # of rmsprop
ADAM_EPSILON = 1e-8

BaselineState = Any
"""Dicts and tuples of tensors."""


class UpdateRule(Protocol):
    """What learned and hand-designed optimizers have in common; pure, for vmap and for derivatives."""

    def initial_state(self, tensors: Mapping[str, Tensor], params: Sequence[Tensor]) -> BaselineState:
        """State before the first step."""

    def update(
        self,
        tensors: Mapping[str, Tensor],
        state: BaselineState,
        params: Sequence[Tensor],
        gradients: Sequence[Tensor],
        *,
        loss: Tensor | None,
        valid_loss: Tensor | None,
    ) -> tuple[Sequence[Tensor], BaselineState]:
        """Return parameters and state after a step."""


BaselineDirection = Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, tuple[Tensor, ...]]]
"""gradient, number of this step from 1, moments -> what is subtracted at rate 1, new moments."""


@dataclass(frozen=True)
class Elementwise:
    """An optimizer that treats every element alike. moments: accumulators an element, 0 at first."""

    direction: BaselineDirection
    moments: int

    def initial_state(self, tensors: Mapping[str, Tensor], params: Sequence[Tensor]) -> BaselineState:
        """Moments of 0, and the number of steps."""
        zeros = tuple(tuple(torch.zeros_like(param) for _ in range(self.moments)) for param in params)
        return {"step": torch.zeros_like(tensors[RATE]), "moments": zeros}

    def update(
        self,
        tensors: Mapping[str, Tensor],
        state: BaselineState,
        params: Sequence[Tensor],
        gradients: Sequence[Tensor],
        *,
        loss: Tensor | None = None,
        valid_loss: Tensor | None = None,
    ) -> tuple[Sequence[Tensor], BaselineState]:
        """A step of all parameters; losses are not used."""
        step = state["step"] + 1
        found = [self.direction(g, step, moments) for g, moments in zip(gradients, state["moments"], strict=True)]
        moved = [param - tensors[RATE] * direction for param, (direction, _) in zip(params, found, strict=True)]
        return moved, {"step": step, "moments": tuple(moments for _, moments in found)}


def _sgd(gradient: Tensor, step: Tensor, moments: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    velocity = MOMENTUM * moments[0] + gradient
    return velocity, (velocity,)


def _adam(gradient: Tensor, step: Tensor, moments: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    first = BETAS[0] * moments[0] + (1 - BETAS[0]) * gradient
    second = BETAS[1] * moments[1] + (1 - BETAS[1]) * gradient.square()
    corrected = (second / (1 - BETAS[1] ** step)).sqrt()
    return first / (1 - BETAS[0] ** step) / (corrected + ADAM_EPSILON), (first, second)


def _rmsprop(gradient: Tensor, step: Tensor, moments: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    square = SMOOTHING * moments[0] + (1 - SMOOTHING) * gradient.square()
    return gradient / (square.sqrt() + ADAM_EPSILON), (square,)


BASELINES: Mapping[str, UpdateRule] = {
    "sgd": Elementwise(_sgd, moments=1),
    "adam": Elementwise(_adam, moments=2),
    "rmsprop": Elementwise(_rmsprop, moments=1),
}
"""sgd with momentum .9; adam and rmsprop as torch's defaults, but for the rate."""
