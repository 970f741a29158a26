"""A pointwise convolution, the batch norm after it and a scale as one product, and the way back through it."""

from __future__ import annotations

import torch
from torch import Tensor

BATCH_NORM_EPS = 1e-5  # of batch norm, as in torch.nn

Fold = tuple[Tensor, Tensor, Tensor, Tensor]
"""What `fold` reads: mean [groups, 1, C], second moment [groups, C, C], weight [groups, C, D] and scale [groups]."""


def fold(mean: Tensor, second: Tensor, weight: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [groups, C, D] and bias [groups, 1, D] of a convolution that is also the batch norm after it and a scale.

    mean, second: moments of what it reads.  weight: [groups, C, D].  scale: [groups], of each group's output.
    """
    _, factor = _norm_factor(mean, second, weight)
    folded = weight * (factor * scale.view(-1, 1, 1))
    return folded, -(mean @ folded)


def _norm_factor(mean: Tensor, second: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Covariance @ weight [groups, C, D], and what batch norm multiplies each output by [groups, 1, D]."""
    transformed = (second - mean.transpose(1, 2) * mean) @ weight
    variance = (transformed * weight).sum(dim=1, keepdim=True)
    return transformed, torch.rsqrt(variance.clamp_min(0) + BATCH_NORM_EPS)  # below 0 by rounding alone


def fold_backward(
    fold_of: Fold, of_folded: Tensor, of_bias: Tensor, pixels: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Through `fold`: the folded weight, offset, matrix, and the gradients in weight and in scale.

    offset [groups, 1, C], matrix [groups, C, C]: rows @ matrix + offset is what the moments add to the rows' gradient.
    """
    dtype = of_folded.dtype
    mean, second, weight, scale = fold_of
    of_folded, of_bias = of_folded.to(weight.dtype), of_bias.to(weight.dtype)
    transformed, factor = _norm_factor(mean, second, weight)
    scaled = factor * scale.view(-1, 1, 1)
    folded = weight * scaled
    of_folded = of_folded - mean.transpose(1, 2) * of_bias  # the bias is -mean @ folded
    of_scaled = (of_folded * weight).sum(dim=1, keepdim=True)
    of_variance = -0.5 * of_scaled * scaled * factor * factor
    of_covariance = (weight * of_variance) @ weight.transpose(1, 2)
    of_mean = -of_bias @ folded.transpose(1, 2) - 2 * mean @ of_covariance
    of_weight = of_folded * scaled + 2 * transformed * of_variance
    of_scale = (of_scaled * factor).sum(dim=(1, 2))
    offset, matrix = of_mean / pixels, of_covariance * (2 / pixels)
    return folded.to(dtype), offset.to(dtype), matrix.to(dtype), of_weight, of_scale
