"""Compiled sums over pixels: the statistics of BatchNorm, and the gradient in a depthwise weight."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from compiled import fields
from search_space.kernels.native.loading import library, takes


class _Convolution(ctypes.Structure):
    _fields_ = fields(integers="batch height width channels out_height out_width kernel stride dilation threads")


def supports_column_sums(rows: Tensor) -> bool:
    """Return whether `column_sums` takes these."""
    return takes((rows,), rows.shape[1])


def column_sums(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums over the rows of right, and of left * right: [rows, C] twice -> [C] twice, in float64."""
    left, right = left.contiguous(), right.contiguous()
    total = torch.zeros(2, left.shape[1], dtype=torch.float64)
    sizes = (*left.shape, torch.get_num_threads())
    library().column_sums(left.data_ptr(), right.data_ptr(), *sizes, total.data_ptr())  # type: ignore[union-attr]
    return total[0], total[1]


def supports_depthwise_weight(images: Tensor, slope: Tensor, kernel: int) -> bool:
    """Return whether `depthwise_weight` takes these."""
    return kernel in (3, 5, 7) and takes((images, slope), images.shape[1])


def depthwise_weight(images: Tensor, slope: Tensor, kernel: int, stride: int, dilation: int) -> Tensor:
    """Return the gradient of a depthwise convolution in its weight [C, 1, k, k].

    images: what it read, [N, C, H, W].  slope: the gradient in what it gave.
    """
    images, slope = (value.contiguous(memory_format=torch.channels_last) for value in (images, slope))
    batch, channels, height, width = images.shape
    total = torch.zeros(kernel**2, channels, dtype=torch.float64)
    of = _Convolution(
        batch, height, width, channels, *slope.shape[2:], kernel, stride, dilation, torch.get_num_threads()
    )
    pointers = (value.data_ptr() for value in (images, slope, total))
    library().depthwise_weight(ctypes.byref(of), *pointers)  # type: ignore[union-attr] # `supports_...` has seen it
    return total.t().float().view(channels, 1, kernel, kernel)
