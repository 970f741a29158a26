"""Solutions of (H + damping) x = v that see the Hessian H only through its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.settings import ImplicitSettings

LinearMap = Callable[[Tensor], Tensor]
"""A symmetric matrix [n, n], as its product with a vector [n]."""

Solver = Callable[[LinearMap, Tensor], "Solution"]
"""(matrix, v) -> x, about matrix^-1 v."""


@dataclass(frozen=True, eq=False)
class Solution:
    """An approximate solution of A x = v.

    vector: x, [n].
    residual: |v - A x| / |v|; of `neumann` at the sum without its last term. 0 for v = 0, and 1 where nothing was done.
    """

    vector: Tensor
    residual: float


def make_solver(name: str, settings: ImplicitSettings, learning_rate: float) -> Solver:
    """The solver "neumann" or "cg". learning_rate: of the weights, the step size where the settings give none."""
    if name == "cg":
        return partial(conjugate_gradient, iterations=settings.iterations)
    step_size = learning_rate if settings.step is None else settings.step
    return partial(neumann, step_size=step_size, iterations=settings.iterations)


def neumann(matrix: LinearMap, vector: Tensor, *, step_size: float, iterations: int) -> Solution:
    """Sum x = step_size (I - step_size A)^k v over k = 0 .. iterations (Lorraine et al. 2020, algorithm 3).

    It converges where step_size is below 2 over the largest eigenvalue of A and none of them is negative; a residual
    above 1 says that it does not. One product an iteration.
    """
    term = vector
    total = step_size * vector
    for _ in range(iterations):
        term = term - step_size * matrix(term)
        total = total + step_size * term
    return Solution(total, _part(term.norm(), vector.norm()))


def conjugate_gradient(matrix: LinearMap, vector: Tensor, *, iterations: int) -> Solution:
    """Hestenes & Stiefel 1952, started at 0; exact after as many iterations as A has different eigenvalues.

    At a direction of no positive curvature A is not positive definite, and the iterates minimise nothing: the one of
    least residual is returned then, 0 among them. Raise the damping when the residual stays near 1. One product an
    iteration.
    """
    best = solution = torch.zeros_like(vector)
    remainder = direction = vector
    least = square = remainder @ remainder
    for _ in range(iterations):
        if square == 0:
            break
        image = matrix(direction)
        curvature = direction @ image
        if not curvature > 0:
            return Solution(best, _part(least.sqrt(), vector.norm()))
        length = square / curvature
        solution = solution + length * direction
        remainder = remainder - length * image
        previous, square = square, remainder @ remainder
        direction = remainder + square / previous * direction
        if square < least:
            best, least = solution, square
    return Solution(solution, _part(square.sqrt(), vector.norm()))


def _part(length: Tensor, whole: Tensor) -> float:
    return (length / whole).item() if whole > 0 else 0.0
