"""Adversarial weight perturbation: a step is taken with the gradient at worse weights nearby (AWP: Wu et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

SMALLEST_NORM = 1e-12  # of a gradient with a direction: squares of smaller ones vanish in float32


def worst_change(weights: Sequence[Tensor], slopes: Sequence[Tensor], gamma: float) -> list[Tensor]:
    """The change gamma |w| g / |g| of each tensor of weights w where the loss has the gradient g (Wu et al. 2020).

    Vectors, which are biases and the scales of BatchNorm, stay, and so do weights whose gradient is about 0.
    """
    return [
        torch.zeros_like(weight)
        if weight.ndim < 2
        else slope / slope.norm().clamp_min(SMALLEST_NORM) * (gamma * weight.detach().norm())
        for weight, slope in zip(weights, slopes, strict=True)
    ]


@contextmanager
def moved(weights: Sequence[Tensor], changes: Sequence[Tensor]) -> Iterator[None]:
    """Add changes to the weights in place, and put the very same values back on leaving."""
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        torch._foreach_add_(list(weights), list(changes))  # one call for all: a search step moves them three times
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(list(weights), before)


@contextmanager
def unchanged_statistics(network: nn.Module) -> Iterator[None]:
    """BatchNorm's running statistics, and all other buffers, are afterwards what they were."""
    before = [buffer.clone() for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, old in zip(network.buffers(), before, strict=True):
            buffer.copy_(old)
