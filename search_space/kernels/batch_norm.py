"""Batch norm by the batch's statistics, without affine: exact in channels_last on the CPU, and twice differentiable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from search_space.kernels import native
from search_space.kernels.channels_last import as_images, as_rows
from search_space.kernels.folding import BATCH_NORM_EPS


class _BatchNorm(Function):
    """Batch norm without affine, its statistics in double precision."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        rows = as_rows(images)
        if native.supports_normalise(rows):
            normalised, mean, factor = native.normalise(rows, BATCH_NORM_EPS)
            ctx.save_for_backward(images, mean, factor)
            return as_images(normalised, images)
        mean, factor = _statistics(rows)
        ctx.save_for_backward(images, mean, factor)
        return as_images(torch.addcmul((-mean * factor).to(rows.dtype), rows, factor.to(rows.dtype)), images)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        images, mean, factor = ctx.saved_tensors
        rows, slope = as_rows(images), as_rows(slopes[0])
        if not torch.is_grad_enabled() and native.supports_normalise(rows, slope):
            return as_images(native.normalise_backward(rows, slope, mean, factor), images)
        if torch.is_grad_enabled():
            mean, factor = _statistics(rows)
        slopes_sum, products = _column_sums(rows, slope)
        along = factor**3 * (products - mean * slopes_sum) / len(rows)
        offset = mean * along - factor * slopes_sum / len(rows)
        of_rows = torch.addcmul(offset.to(rows.dtype), slope, factor.to(rows.dtype))
        return as_images(torch.addcmul(of_rows, rows, -along.to(rows.dtype)), images)


def _statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of each column, and 1 / standard deviation, in float64."""
    mean, second = (total / len(rows) for total in _column_sums(rows, rows))
    return mean, torch.rsqrt((second - mean**2).clamp_min(0) + BATCH_NORM_EPS)


def _column_sums(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums over the rows of right, and of left * right, in float64."""
    if not torch.is_grad_enabled() and native.supports_column_sums(left):
        return native.column_sums(left, right)
    return right.sum(dim=0).double(), (left * right).sum(dim=0).double()


def normalise_batch(images: Tensor) -> Tensor:
    """Batch norm by the batch's statistics, without affine: [N, C, H, W] -> the same.

    PyTorch's on the CPU is off by 1e-5 in channels_last, a hundred times more than in its own layout, which moves
    activations across kinks and gradients by 1e-3.
    """
    if images.device.type != "cpu" or images.dtype not in (torch.float32, torch.float64):
        return F.batch_norm(images, None, None, training=True)
    normalised: Tensor = _BatchNorm.apply(images)  # type: ignore[no-untyped-call]
    return normalised
