"""What learned optimizers see: accumulators, time, root mean squares, and sums over the elements of each tensor.

Rows of features are [c, n], one column an element; the n elements are those of k tensors, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Self

import torch
from torch import Tensor

EPSILON = 1e-5  # beside a root mean square that is divided by
TINY = 1e-20  # keeps the derivative of a square root finite at 0, where parameters often start
SMALLEST = 1e-8  # beside what a logarithm or a reciprocal root is taken of
DIRECTION_SCALE = MAGNITUDE_SCALE = 1e-3
TIMESCALES = torch.logspace(0, 5, 11, dtype=torch.float64)
SHAPE_LENGTH = 4  # dimensions of a tensor that are told apart; further ones count as one with the last


@dataclass(frozen=True, eq=False)
class Segments:
    """Which of `count` tensors each element belongs to. owners: [n]; None where all are of one tensor."""

    count: int
    owners: Tensor | None = None

    @classmethod
    def of(cls, sizes: Sequence[int], device: torch.device) -> Self:
        """Make the segments of tensors of these sizes, one after the other."""
        if len(sizes) == 1:
            return cls(1)
        counts = torch.tensor(sizes, device=device)
        return cls(len(sizes), torch.repeat_interleave(counts, output_size=sum(sizes)))

    def total(self, rows: Tensor) -> Tensor:
        """Return sums over each tensor: [c, n] -> [count, c]."""
        if self.owners is None:
            return rows.sum(-1)[None]
        sums: Tensor = rows.new_zeros(rows.shape[0], self.count).scatter_add(-1, self.owners.expand(rows.shape), rows)
        return sums.T

    def total_squares(self, rows: Tensor) -> Tensor:
        """Return sums of squares over each tensor: [c, n] -> [count, c]."""
        if self.owners is None:  # in one pass
            norms: Tensor = torch.linalg.vector_norm(rows, dim=-1)
            return norms.square()[None]
        return self.total(rows.square())

    def spread(self, figures: Tensor) -> Tensor:
        """Give what each tensor has to its elements: [count, c] -> [c, n], or [c, 1] where there is one tensor."""
        if self.owners is None:
            return figures.T
        rows = figures.T
        return rows.gather(-1, self.owners.expand(rows.shape[0], -1))


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of k tensors before any step.

    sizes: elements, [k].  scalar: 1 for a tensor of one element, else 0, [k].  log_shape: [k, 4], 0 where there is no
    dimension.
    """

    sizes: Tensor
    scalar: Tensor
    log_shape: Tensor

    @classmethod
    def of(cls, shapes: Sequence[Sequence[int]], like: Tensor) -> Self:
        """Of tensors of these shapes, in the dtype and on the device of `like`."""
        sizes = like.new_tensor([float(prod(shape)) for shape in shapes])
        folded = [_four(shape) for shape in shapes]
        return cls(sizes, (sizes == 1).to(sizes), like.new_tensor(folded).log())


def _four(shape: Sequence[int]) -> list[float]:
    first, rest = list(shape[: SHAPE_LENGTH - 1]), shape[SHAPE_LENGTH - 1 :]
    folded = [*first, prod(rest)]
    return [float(size) for size in folded] + [1.0] * (SHAPE_LENGTH - len(folded))


def running(means: Tensor, value: Tensor, shares: Tensor, out: Tensor | None) -> Tensor:
    """Exponential running means: [c, n] and [n] -> [c, n], (1 - share) * mean + share * value. shares: [c, 1]."""
    return torch.lerp(means, value, shares.to(means), out=out)


def reciprocal_rms(squares: Tensor, sizes: Tensor) -> Tensor:
    """1 / (root mean square + 1e-5) of features whose sums of squares over tensors of `sizes` [k] are [k, c]."""
    return 1 / ((squares / sizes[:, None] + TINY).sqrt() + EPSILON)


def log_abs(values: Tensor) -> Tensor:
    """log|x|, finite at 0."""
    return torch.log(values.abs() + SMALLEST)


def tanh_time(step: Tensor) -> Tensor:
    """tanh(t / tau - 1) for 11 tau from 1 to 1e5: [11]."""
    return torch.tanh(step / TIMESCALES.to(step) - 1)


def sine_time(step: Tensor) -> Tensor:
    """sin(t / (tau pi)) for 11 tau from 1 to 1e5: [11]."""
    return torch.sin(step / (TIMESCALES.to(step) * torch.pi))


def step_of(direction: Tensor, magnitude: Tensor) -> Tensor:
    """Return what is subtracted from a parameter: 1e-3 * direction * exp(1e-3 * magnitude)."""
    return DIRECTION_SCALE * direction * torch.exp(MAGNITUDE_SCALE * magnitude)
