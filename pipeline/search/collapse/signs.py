"""Signs of collapse, once an epoch: operations without weights, undecided edges, and the curvature in alpha."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import grad

from pipeline.search.objectives import Loss
from search_space import OPERATIONS, Cell, Genotype, Supernet

SMALLEST_HESSIAN_EIGENVALUE = torch.finfo(torch.float32).tiny  # where the Hessian is zero, that is exact
CONVERGED = 1e-4  # relative residual of an eigenvalue below which further products change nothing that is read


@dataclass(frozen=True)
class Eigenvalue:
    """An eigenvalue, with the certificate of its eigenvector v: residual = |H v - value v| / |value|, |v| = 1.

    For a symmetric H some eigenvalue lies within residual * |value| of the value.
    """

    value: float
    residual: float

    @property
    def is_finite(self) -> bool:
        """Whether neither is NaN or infinity, as they become where products overflow."""
        return math.isfinite(self.value) and math.isfinite(self.residual)


def signs_of_collapse(supernet: Supernet, genotype: Genotype | None = None) -> dict[str, Any]:
    """Measure a genotype's cells, those of the present alphas where none is given, and how undecided the edges are."""
    space, cells = supernet.space, (supernet.derive() if genotype is None else genotype).cells
    return {
        "weight_free": {name: weight_free_operations(cell) for name, cell in cells.items()},
        "skips": {name: skip_connections(cell) for name, cell in cells.items()},
        "entropy": mean_entropy(supernet.relaxation.strengths(space, supernet.alphas.detach()), space.mask),
    }


def weight_free_operations(cell: Cell) -> int:
    """How many edges of a cell hold an operation that has no weights at stride 1: skips, pools and the like."""
    return sum(_is_weight_free(edge.operation) for edge in cell.edges)


def skip_connections(cell: Cell) -> int:
    """How many edges of a cell are skips."""
    return sum(edge.operation == "skip_connect" for edge in cell.edges)


def mean_entropy(strengths: Tensor, mask: Tensor) -> float:
    """Mean over edges of the entropy of their operations, as a part of the largest: 1 undecided, 0 one operation alone.

    strengths: [cells, edges, operations], not negative; rows need not sum to 1.  mask: what edges may hold, so shaped.
    """
    shares = strengths.double().cpu() / strengths.double().cpu().sum(dim=-1, keepdim=True)
    largest = mask.sum(dim=-1).clamp_min(2).double().log()
    return float((torch.special.entr(shares).sum(dim=-1) / largest).mean())


def largest_eigenvalue(loss: Loss, alphas: Tensor, *, iterations: int, generator: torch.Generator) -> Eigenvalue:
    """Largest eigenvalue of the Hessian of the loss in alphas, by power iteration on exact Hessian-vector products.

    The loss is computed once; each product is one more backward pass. Power iteration finds the eigenvalue of largest
    size; where that is negative, the iteration is repeated on the Hessian less that eigenvalue, which is positive
    semi-definite.
    iterations: at most, of each of the two.  generator: on the CPU, of the start vectors.
    """
    (slope,) = grad(loss(), alphas, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        return grad(slope, alphas, vector, retain_graph=True)[0]

    def start() -> Tensor:
        return torch.randn(alphas.shape, generator=generator, dtype=torch.float64).to(alphas)

    dominant = _power_iteration(product, start(), iterations, shift=0.0)
    if dominant.value >= 0:
        return dominant
    return _power_iteration(product, start(), iterations, shift=dominant.value)


def _power_iteration(
    product: Callable[[Tensor], Tensor], start: Tensor, iterations: int, *, shift: float
) -> Eigenvalue:
    """An eigenvalue of H, that of largest size of H - shift."""
    vector = start / start.norm()
    found = Eigenvalue(0.0, math.inf)
    for _ in range(iterations):
        image = product(vector)
        value = torch.dot(vector.flatten(), image.flatten()).item()
        error = (image - value * vector).norm().item()
        found = Eigenvalue(value, error / max(abs(value), SMALLEST_HESSIAN_EIGENVALUE))
        moved = image - shift * vector
        norm = moved.norm()
        if found.residual < CONVERGED or norm == 0:
            break
        vector = moved / norm
    return found


@cache
def _is_weight_free(operation: str) -> bool:
    with torch.device("meta"):
        return not any(True for _ in OPERATIONS[operation](2, 1, _no_norm).parameters())


def _no_norm(channels: int) -> torch.nn.Module:
    return torch.nn.Identity()
