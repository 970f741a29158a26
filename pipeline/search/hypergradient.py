"""Gradients of the objectives in alpha, when the weights answer to alpha.

First order: they do not. Unrolled: by one step of SGD (Liu et al. 2019, DARTS, section 2.3). Implicit: by staying at a
minimum of the training loss (Pedregosa 2016; Rajeswaran et al. 2019; Lorraine et al. 2020).

All objectives take the same order, and their weights' answer is part of each gradient before they are balanced.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import grad
from torch.optim import Optimizer

from attacks import LaterChecks
from pipeline.search.linear_solvers import Solver, make_solver
from pipeline.search.objectives import Loss
from pipeline.settings import SearchSettings
from pipeline.training.optimizers import drift
from pipeline.training.recipes.weight_perturbation import moved
from pipeline.training.steps import naming

Reduce = Callable[[Sequence[Tensor]], list[Tensor]]
"""Mean of each tensor over processes."""

HessianProduct = Callable[[Sequence[Tensor], Sequence[Tensor]], list[Tensor]]
"""(inputs, vector) -> for each input x: (d/dx) <d loss/d weights, vector>. Inputs: alphas, weights, or both."""

Product = Callable[[Loss, Sequence[Tensor]], HessianProduct]
"""(loss, weights) -> products with its Hessian, at the values that weights and alphas have when it is made."""


@dataclass(frozen=True)
class ObjectiveGradient:
    """An objective's value, of no dimension, and its gradient in alpha, of alpha's shape.

    residual: of the linear system behind an implicit gradient (see `Solution`); None where none was solved.
    """

    value: Tensor
    gradient: Tensor
    residual: float | None = None


def on_cpu(found: Mapping[str, ObjectiveGradient], checks: LaterChecks) -> dict[str, ObjectiveGradient]:
    """Bring all values and gradients to the CPU by one copy, for which alone a device is waited for.

    checks: of the attacks behind them, which are read with them. Raises what they raise, and FloatingPointError that
    names an objective whose value is not finite.
    """
    parts = [part for result in found.values() for part in (result.value, result.gradient)]
    copies = _copied([*checks.values, *(part.detach().double().flatten() for part in parts)])
    read, split = copies[: len(checks.values)], copies[len(checks.values) :]
    checks.judge([value for each in read for value in each.tolist()])
    here = iter([own.view(part.shape).to(part.dtype) for own, part in zip(split, parts, strict=True)])
    values = {name: ObjectiveGradient(next(here), next(here), result.residual) for name, result in found.items()}
    for name, result in values.items():
        if not math.isfinite(result.value):
            raise FloatingPointError(f"objective {name}: its value is {result.value.item()}")
    return values


def _copied(vectors: Sequence[Tensor]) -> list[Tensor]:
    """Return vectors [n] of one type on the CPU; those of a device by one copy, and those of the CPU themselves."""
    far = [vector for vector in vectors if vector.device.type != "cpu"]
    copies = iter(torch.split(torch.cat(far).cpu(), [len(vector) for vector in far]) if far else ())
    return [vector if vector.device.type == "cpu" else next(copies) for vector in vectors]


def hypergradients(
    losses: Mapping[str, Loss],
    training_loss: Loss,
    weights: Sequence[Tensor],
    alphas: Tensor,
    settings: SearchSettings,
    optimizer: Optimizer,
    reduce: Reduce,
) -> dict[str, ObjectiveGradient]:
    """Compute each loss's value and gradient in alphas where the weights answer to them, as the settings say.

    training_loss: that the weights follow.  optimizer: of the weights.
    """
    product, (group,) = PRODUCTS[settings.hessian], optimizer.param_groups
    if settings.order == "unrolled":
        return unrolled(
            losses,
            training_loss,
            weights,
            alphas,
            step_size=group["lr"],
            drift=drift(optimizer, weights),
            product=product,
            reduce=reduce,
        )
    return implicit(
        losses,
        training_loss,
        weights,
        alphas,
        solver=make_solver(settings.order, settings.implicit, group["lr"]),
        damping=group["weight_decay"] + settings.implicit.damping,
        product=product,
        reduce=reduce,
    )


def first_order(
    losses: Mapping[str, Loss], alphas: Tensor, reduce: Reduce, *, weights: Sequence[Tensor] = ()
) -> dict[str, ObjectiveGradient]:
    """Gradients with the weights held fixed. weights: those of the losses; their own gradients are not computed."""
    found = {}
    with frozen(weights):
        for name, loss in losses.items():
            value = _evaluated(name, loss)
            mean, gradient = reduce([value.detach(), *grad(value, [alphas])])
            found[name] = ObjectiveGradient(mean, gradient)
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
) -> dict[str, ObjectiveGradient]:
    """Gradients of each loss at w' = w - step_size (d training_loss/dw + drift), through w' (DARTS, eq. 7).

    drift: what the optimizer adds to the gradient and alpha does not change (weight decay, momentum), one per weight.
    With v = d loss/dw' the gradient is d loss/d alpha - step_size (d/d alpha) <d training_loss/dw, v>.
    """
    slopes = reduce(grad(training_loss(), list(weights)))
    step = [-step_size * (slope + extra) for slope, extra in zip(slopes, drift, strict=True)]
    with moved(weights, step):
        found = _slopes(losses, weights, alphas, reduce)
    products = product(training_loss, weights)
    return {
        name: ObjectiveGradient(value, direct - step_size * reduce(products([alphas], vector))[0])
        for name, (value, direct, vector) in found.items()
    }


def implicit(
    losses: Mapping[str, Loss],
    training_loss: Loss,
    weights: Sequence[Tensor],
    alphas: Tensor,
    *,
    solver: Solver,
    damping: float,
    product: Product,
    reduce: Reduce,
) -> dict[str, ObjectiveGradient]:
    """Gradients of each loss where the weights follow the minimum of training_loss + damping |w - w0|^2 / 2.

    The implicit function theorem at the present weights w: with v = d loss/dw and A = d^2 training_loss/dw^2 + damping,
    the gradient is d loss/d alpha - (d/d alpha) <d training_loss/dw, A^-1 v>. It is the exact hypergradient where w is
    a minimum, A positive definite and the solver exact. One graph of the training loss serves all losses.
    damping: weight decay, which is part of A, and what is added to make A positive definite.
    """
    slopes = _slopes(losses, weights, alphas, reduce)
    products = product(training_loss, weights)

    def matrix(vector: Tensor) -> Tensor:
        return _flat(reduce(products(weights, _like(weights, vector)))) + damping * vector

    found = {}
    for name, (value, direct, vector) in slopes.items():
        answer = solver(matrix, _flat(vector))
        (indirect,) = reduce(products([alphas], _like(weights, answer.vector)))
        found[name] = ObjectiveGradient(value, direct - indirect, answer.residual)
    return found


def _slopes(
    losses: Mapping[str, Loss], weights: Sequence[Tensor], alphas: Tensor, reduce: Reduce
) -> dict[str, tuple[Tensor, Tensor, list[Tensor]]]:
    """Value of each loss, and its gradients in alphas and in each weight, with the other held fixed."""
    found = {}
    for name, loss in losses.items():
        value = _evaluated(name, loss)
        mean, direct, *vector = reduce([value.detach(), *grad(value, [alphas, *weights])])
        found[name] = mean, direct, vector
    return found


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _like(tensors: Sequence[Tensor], flat: Tensor) -> list[Tensor]:
    """Parts of a flat vector in the shapes of `tensors`."""
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _evaluated(name: str, loss: Loss) -> Tensor:
    with naming(f"objective {name}"):
        return loss()


def exact_product(loss: Loss, weights: Sequence[Tensor]) -> HessianProduct:
    """Products by differentiating twice; one graph serves them all."""
    slopes = grad(loss(), list(weights), create_graph=True)

    def product(inputs: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
        # an input in which the loss is linear has no second derivative: zeros, not an error
        return list(grad(slopes, list(inputs), grad_outputs=list(vector), retain_graph=True, materialize_grads=True))

    return product


def finite_difference_product(loss: Loss, weights: Sequence[Tensor]) -> HessianProduct:
    """The same by a central difference along each vector, with DARTS's step of 0.01 over the vector's norm (eq. 8)."""

    def product(inputs: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(vector)))).item()
        if norm == 0:
            return [torch.zeros_like(tensor) for tensor in inputs]
        epsilon = 0.01 / norm
        sides = []
        for sign in (1, -1):
            with moved(weights, [sign * epsilon * part for part in vector]):
                sides.append(grad(loss(), list(inputs)))
        return [(ahead - behind) / (2 * epsilon) for ahead, behind in zip(*sides, strict=True)]

    return product


PRODUCTS: Mapping[str, Product] = {"exact": exact_product, "finite_difference": finite_difference_product}


@contextlib.contextmanager
def frozen(weights: Sequence[Tensor]) -> Iterator[None]:
    """Weights that need no gradient: a search spends a third of an alpha's backward pass on theirs otherwise."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
