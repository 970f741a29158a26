"""Convolutions of few channels to a group by compiled code, with gradients of every order.

The libraries' are made for many channels: with 4 to 16 they take several times what the arithmetic needs. Networks side
by side (`search_space.network.side_by_side`) have such groups, one a network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from search_space.kernels import native
from search_space.kernels.backward import is_batched, wanted

MOST_CHANNELS = 16  # to a group, read or given: with more the libraries' are faster
MOST_ALONE = 8  # of a convolution of one group, which the libraries know better


class _Grouped(Function):
    """Convolution with padding that keeps the size at stride 1."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.groups = stride, groups
        return native.grouped_convolution(images, weight, stride, groups)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        (slope,) = slopes
        asked = [needed and wanted(ctx, index) for index, needed in enumerate(ctx.needs_input_grad[:2])]
        if torch.is_grad_enabled() or is_batched(slope):  # PyTorch's can be differentiated again, and has rules
            of_images, of_weight = _by_pytorch(images, weight, slope, ctx.stride, ctx.groups, asked)
            return of_images, of_weight, None, None
        geometry = slope, ctx.stride, ctx.groups
        of_images = native.grouped_convolution_images(images.shape, weight, *geometry) if asked[0] else None
        of_weight = native.grouped_convolution_weight(images, weight, *geometry) if asked[1] else None
        return of_images, of_weight, None, None


def _by_pytorch(
    images: Tensor, weight: Tensor, slope: Tensor, stride: int, groups: int, asked: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    padding = [weight.shape[2] // 2] * 2
    geometry = ([stride] * 2, padding, [1, 1], False, [0, 0], groups, [*asked, False])
    of_images, of_weight, _ = torch.ops.aten.convolution_backward(slope, images, weight, None, *geometry)
    return of_images, of_weight


def grouped_convolution_pays(images: Tensor, weight: Tensor, groups: int) -> bool:
    """Return whether `grouped_convolution` takes these, and is the faster way: few channels, float32 on the CPU."""
    inputs, outputs = weight.shape[1], len(weight) // groups
    return (
        max(inputs, outputs) <= (MOST_CHANNELS if groups > 1 else MOST_ALONE)
        and (images.shape[1], len(weight)) == (inputs * groups, outputs * groups)
        and native.supports_grouped_convolution(images, weight)
    )


def grouped_convolution(images: Tensor, weight: Tensor, *, stride: int = 1, groups: int = 1) -> Tensor:
    """[N, groups * C, H, W] * [groups * O, C, k, k] -> [N, groups * O, ceil(H / stride), ceil(W / stride)].

    k: 1 or 3.  stride: 1 or 2.
    """
    convolved: Tensor = _Grouped.apply(images, weight.view_as(weight), stride, groups)  # type: ignore[no-untyped-call]
    return convolved
