"""The average pool of 3x3 pixels and stride 1 by compiled code, with gradients of every order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from search_space.kernels import native
from search_space.kernels.backward import is_batched


class _AveragePool(Function):
    """The pool, or its adjoint; each is linear, so that its gradient is the other."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, back: bool) -> Tensor:
        ctx.back, ctx.shape = back, images.shape
        return native.average_pool(images, back=back)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        (slope,) = slopes
        if is_batched(slope):  # of several backward passes at once, for which PyTorch's has rules
            return _by_pytorch(slope, ctx.shape, ctx.back), None
        of_images: Tensor = _AveragePool.apply(slope, not ctx.back)  # type: ignore[no-untyped-call]
        return of_images, None


def _by_pytorch(slope: Tensor, shape: torch.Size, back: bool) -> Tensor:
    geometry = [3, 3], [1, 1], [1, 1], False, False
    if back:
        return torch.nn.functional.avg_pool2d(slope, *geometry)
    of_images: Tensor = torch.ops.aten.avg_pool2d_backward(slope, torch.empty(shape), *geometry, None)
    return of_images


def average_pool(images: Tensor) -> Tensor:
    """Return the means of every pixel and its neighbours in the image: [N, C, H, W] -> the same."""
    pooled: Tensor = _AveragePool.apply(images, False)  # type: ignore[no-untyped-call]
    return pooled
