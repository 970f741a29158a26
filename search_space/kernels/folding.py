"""A pointwise convolution, the batch norm after it and a scale as one product, and the way back through it.

The matrices are tiny and many, so what counts is how many operations there are: what the way back needs again is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BATCH_NORM_EPS = 1e-5  # of batch norm, as in torch.nn


class Fold(NamedTuple):
    """A convolution that is also the batch norm after it and a scale, and what its way back reads again.

    mean: [groups, 1, C], of what it reads.  weight: [groups, C, D], before.  scale: [groups, 1, 1], or None for 1.
    transformed: covariance @ weight [groups, C, D].  factor: what batch norm multiplies by [groups, 1, D].
    folded: the convolution's weight [groups, C, D].  bias: [groups, 1, D].
    """

    mean: Tensor
    weight: Tensor
    scale: Tensor | None
    transformed: Tensor
    factor: Tensor
    folded: Tensor
    bias: Tensor

    def tensors(self) -> list[Tensor]:
        """Return all of it as tensors, an empty one in the place of no scale."""
        return [self.mean.new_empty(0) if part is None else part for part in self]

    @classmethod
    def read(cls, tensors: Sequence[Tensor]) -> tuple[Fold, Sequence[Tensor]]:
        """Take apart tensors that begin with those of a fold: the fold, and the rest."""
        own, rest = tensors[: len(cls._fields)], tensors[len(cls._fields) :]
        of = cls(*own)
        return of._replace(scale=of.scale if own[cls._fields.index("scale")].numel() else None), rest


class FoldSlopes(NamedTuple):
    """What the way back through a fold gives.

    offset [groups, 1, C], matrix [groups, C, C]: rows @ matrix + offset is what the moments add to the rows' gradient.
    weight, scale: gradients in them; None where they were not wanted.
    """

    offset: Tensor
    matrix: Tensor
    weight: Tensor | None
    scale: Tensor | None


def fold(mean: Tensor, second: Tensor, weight: Tensor, scale: Tensor | None = None) -> Fold:
    """Fold batch norm and a scale into a convolution.

    mean [groups, 1, C], second [groups, C, C]: moments of what it reads.  weight: [groups, C, D].
    scale: [groups], of each group's output; None for 1.
    """
    covariance = torch.baddbmm(second, mean.transpose(1, 2), mean, alpha=-1)
    transformed = torch.bmm(covariance, weight)
    variance = (transformed * weight).sum(dim=1, keepdim=True)
    factor = torch.rsqrt(variance.clamp_min(0) + BATCH_NORM_EPS)  # below 0 by rounding alone
    by_group = None if scale is None else scale.view(-1, 1, 1)
    scaled = factor if by_group is None else factor * by_group
    folded = weight * scaled
    return Fold(mean, weight, by_group, transformed, factor, folded, _product(mean, folded, -1))


def fold_backward(
    of: Fold, of_folded: Tensor, of_bias: Tensor, pixels: int, *, wants_weight: bool = True, wants_scale: bool = True
) -> FoldSlopes:
    """Lead the gradients in a fold's weight and bias back to what it reads.

    of_folded [groups, C, D], of_bias [groups, 1, D].  pixels: that the moments are means over.
    """
    scaled = of.factor if of.scale is None else of.factor * of.scale
    of_folded = torch.addcmul(of_folded, of.mean.transpose(1, 2), of_bias, value=-1)  # the bias is -mean @ folded
    of_scaled = (of_folded * of.weight).sum(dim=1, keepdim=True)
    slope = of_scaled * scaled * of.factor * of.factor  # -2 times that in the variance
    matrix = _product(of.weight * slope, of.weight.transpose(1, 2), -1 / pixels)
    of_mean = _product(of_bias, of.folded.transpose(1, 2), -1 / pixels)
    offset = torch.baddbmm(of_mean, of.mean, matrix, alpha=-1)
    of_weight = torch.addcmul(of_folded * scaled, of.transformed, slope, value=-1) if wants_weight else None
    of_scale = (of_scaled * of.factor).sum(dim=(1, 2)) if wants_scale else None
    return FoldSlopes(offset, matrix, of_weight, of_scale)


def _product(left: Tensor, right: Tensor, times: float) -> Tensor:
    """Return times * left @ right of each group, in one operation."""
    return torch.baddbmm(
        left.new_empty((1, 1, 1)), left, right, beta=0, alpha=times
    )  # beta=0: what is empty is not read
