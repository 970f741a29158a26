"""One stage: a convex problem that is solved exactly through the singular value decomposition."""

from __future__ import annotations

import torch
from torch import Tensor

from analytic_continuation.unrolled.window import STEP

LARGEST_CONDITION = 9.99e5


def capped(singular: Tensor, rho: Tensor) -> Tensor:
    """Return the singular values [B, r] that a stage works with: none above sqrt(1e6 rho), rho [B, 1].

    So K^T K + rho I has a condition number below 1e6. What is measured better than that still is fitted to a millionth
    of its distance from the stage's starting point.
    """
    return torch.minimum(singular, ((LARGEST_CONDITION - 1) * rho).sqrt())


def filters(singular: Tensor, rho: Tensor) -> Tensor:
    """Return the part of each singular vector that a stage takes from the data, s^2 / (s^2 + rho), [B, r]."""
    squares = capped(singular, rho).square()
    return squares / (squares + rho)


def solve_stage(start: Tensor, rho: Tensor, singular: Tensor, right: Tensor, coefficients: Tensor) -> Tensor:
    """Return x = (K^T K + rho I)^-1 (K^T G + rho z), exactly, [B, NODES].

    start: z, [B, NODES].  rho: [B, 1].  singular: s of the whitened kernel K, [B, r].  right: v^T, [r, NODES].
    coefficients: u^T G / s, what the data say of each singular vector, [B, r].
    """
    part = filters(singular, rho) * (coefficients - start @ right.T * STEP**0.5)
    return torch.addmm(start, part, right, alpha=STEP**-0.5)


def condition_number(rho: float, largest: float) -> float:
    """Return the condition number of a stage's matrix: (s1^2 + rho) / rho, as the kernel has a null space."""
    return (min(largest**2, (LARGEST_CONDITION - 1) * rho) + rho) / rho
