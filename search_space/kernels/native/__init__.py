"""Compiled code for float32 on the CPU: separable operations with fixed weights, as in every step of an attack, the
gradient in the weight of a depthwise convolution, convolutions of few channels, and pools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from search_space.kernels.native.convolution import (
    grouped_convolution,
    grouped_convolution_images,
    grouped_convolution_weight,
    supports_grouped_convolution,
)
from search_space.kernels.native.loading import library, takes
from search_space.kernels.native.node_passes import NodePasses, SeparableWeights
from search_space.kernels.native.normalisation import normalise, normalise_backward, supports_normalise
from search_space.kernels.native.pooling import average_pool, supports_average_pool
from search_space.kernels.native.sums import (
    column_sums,
    depthwise_weight,
    supports_column_sums,
    supports_depthwise_weight,
)

__all__ = [
    "SeparableWeights",
    "average_pool",
    "column_sums",
    "depthwise_weight",
    "grouped_convolution",
    "grouped_convolution_images",
    "grouped_convolution_weight",
    "library",
    "normalise",
    "normalise_backward",
    "separable_sum",
    "supports",
    "supports_average_pool",
    "supports_column_sums",
    "supports_depthwise_weight",
    "supports_grouped_convolution",
    "supports_normalise",
]


def supports(operations: Sequence[SeparableWeights], states: Sequence[Tensor]) -> bool:
    """Whether `separable_sum` takes these: compiled code is there, and all is float32 on the CPU with fixed weights."""
    weights = [weight for operation in operations for weight in (*operation.depthwise, *operation.pointwise)]
    return (
        bool(operations)
        and takes((*weights, *states), operations[0].pointwise[0].shape[1])
        and not torch.is_autocast_enabled("cpu")
        and not (torch.is_grad_enabled() and any(weight.requires_grad for weight in weights))
        and all(weight.shape[2] in (3, 5, 7) for operation in operations for weight in operation.depthwise)
    )


def separable_sum(
    operations: Sequence[SeparableWeights],
    scales: Tensor,
    states: Sequence[Tensor],
    strides: Sequence[int],
    same: Callable[..., Tensor],
) -> Tensor:
    """Return the sum over operations and edges of scale * operation(state) -> [N, C, H, W].

    scales: [operations, edges].  states: after ReLU, [N, C, H, W], of each edge, and the edges' strides.
    same: the same function of (scales, *states), from operations that can be differentiated twice.
    """
    dense = [state.contiguous(memory_format=torch.channels_last) for state in states]
    total: Tensor = _SeparableSum.apply(scales, operations, strides, same, *dense)  # type: ignore[no-untyped-call]
    return total


class _SeparableSum(Function):
    @staticmethod
    def forward(
        ctx: Any,
        scales: Tensor,
        operations: Sequence[SeparableWeights],
        strides: Sequence[int],
        same: Callable[..., Tensor],
        *states: Tensor,
    ) -> Tensor:
        ctx.passes, ctx.same = NodePasses(operations, scales, strides, states), same
        total: Tensor = ctx.passes.forward()
        # through autograd, so that recomputation frees the features
        ctx.save_for_backward(scales, *states, *ctx.passes.release())
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Any, ...]:
        scales, *saved = ctx.saved_tensors
        states, kept = saved[: len(ctx.needs_input_grad) - 4], saved[len(ctx.needs_input_grad) - 4 :]
        wanted = [ctx.needs_input_grad[0], *ctx.needs_input_grad[4:]]
        if torch.is_grad_enabled():
            # views: one state follows from another, and the gradient is the partial one
            inputs = [value.view_as(value) for value in (scales, *states)]
            asked = [value for value, want in zip(inputs, wanted, strict=True) if want]
            recorded = iter(torch.autograd.grad(ctx.same(*inputs), asked, slopes[0], create_graph=True))
            of_scales, *of_states = (next(recorded) if want else None for want in wanted)
        else:
            ctx.passes.restore(kept)
            of_scales, of_states = ctx.passes.backward(slopes[0], states, wanted[1:])
            ctx.passes.release()
        return of_scales, None, None, None, *of_states
