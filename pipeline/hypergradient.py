"""Gradients of the objectives in alpha, when the weights answer to alpha (Liu et al. 2019, DARTS, section 2.3).

All objectives take the same order, and their weights' answer is part of each gradient before they are balanced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import grad

from pipeline.objectives import Loss
from pipeline.training import naming

Reduce = Callable[[Sequence[Tensor]], list[Tensor]]
"""Mean of each tensor over processes."""

Product = Callable[[Loss, Sequence[Tensor], Tensor, Sequence[Sequence[Tensor]]], list[Tensor]]
"""(training loss, weights, alphas, vectors) -> for each vector v: (d/d alpha) of <d loss/d weights, v>."""


@dataclass(frozen=True)
class Evaluated:
    """An objective's value and its gradient in alpha, of alpha's shape."""

    value: float
    gradient: Tensor


def first_order(
    losses: Mapping[str, Loss], alphas: Tensor, reduce: Reduce, *, weights: Sequence[Tensor] = ()
) -> dict[str, Evaluated]:
    """Gradients with the weights held fixed. weights: those of the losses; their own gradients are not computed."""
    found = {}
    with _frozen(weights):
        for name, loss in losses.items():
            value = _evaluated(name, loss)
            found[name] = Evaluated(reduce([value.detach()])[0].item(), reduce(grad(value, [alphas]))[0])
    return found


def unrolled(
    losses: Mapping[str, Loss],
    training_loss: Loss,
    weights: Sequence[Tensor],
    alphas: Tensor,
    *,
    step_size: float,
    drift: Sequence[Tensor],
    product: Product,
    reduce: Reduce,
) -> dict[str, Evaluated]:
    """Gradients of each loss at w' = w - step_size (d training_loss/dw + drift), through w' (DARTS, eq. 7).

    drift: what the optimizer adds to the gradient and alpha does not change (weight decay, momentum), one per weight.
    With v = d loss/dw' the gradient is d loss/d alpha - step_size (d/d alpha) <d training_loss/dw, v>.
    """
    slopes = reduce(grad(training_loss(), list(weights)))
    step = [-step_size * (slope + extra) for slope, extra in zip(slopes, drift, strict=True)]
    values, direct, vectors = {}, {}, {}
    with moved(weights, step):
        for name, loss in losses.items():
            value = _evaluated(name, loss)
            direct[name], *vectors[name] = reduce(grad(value, [alphas, *weights]))
            values[name] = reduce([value.detach()])[0].item()
    answers = product(training_loss, weights, alphas, list(vectors.values()))
    return {
        name: Evaluated(values[name], direct[name] - step_size * reduce([answer])[0])
        for name, answer in zip(losses, answers, strict=True)
    }


def _evaluated(name: str, loss: Loss) -> Tensor:
    with naming(f"objective {name}"):
        return loss()


def exact_product(
    loss: Loss, weights: Sequence[Tensor], alphas: Tensor, vectors: Sequence[Sequence[Tensor]]
) -> list[Tensor]:
    """Mixed Hessian-vector products by differentiating twice; one graph serves all vectors."""
    slopes = grad(loss(), list(weights), create_graph=True)
    return [grad(slopes, [alphas], grad_outputs=list(vector), retain_graph=True)[0] for vector in vectors]


def finite_difference_product(
    loss: Loss, weights: Sequence[Tensor], alphas: Tensor, vectors: Sequence[Sequence[Tensor]]
) -> list[Tensor]:
    """The same by a central difference along each vector, with DARTS's step of 0.01 over the vector's norm (eq. 8)."""
    products = []
    for vector in vectors:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(vector)))).item()
        if norm == 0:
            products.append(torch.zeros_like(alphas))
            continue
        epsilon = 0.01 / norm
        sides = []
        for sign in (1, -1):
            with moved(weights, [sign * epsilon * part for part in vector]):
                sides.append(grad(loss(), [alphas])[0])
        products.append((sides[0] - sides[1]) / (2 * epsilon))
    return products


@contextlib.contextmanager
def _frozen(weights: Sequence[Tensor]) -> Iterator[None]:
    """Weights that need no gradient: a search spends a third of an alpha's backward pass on theirs otherwise."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


@contextlib.contextmanager
def moved(weights: Sequence[Tensor], step: Sequence[Tensor]) -> Iterator[None]:
    """Add a step to the weights in place, and put the very same values back on leaving."""
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        torch._foreach_add_(list(weights), list(step))
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(list(weights), before)
