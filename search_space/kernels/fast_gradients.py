"""Faster gradients for networks on the CPU, with PyTorch's own values to rounding, in every order.

Within `fast_gradients()` torch.nn's depthwise convolutions, and its batch norms with fixed weights and statistics, as
an attack sees them, take gradients back by the supernet's way, where images lie in channels_last (what that is worth:
benchmarks/network_gradients.py). Convolutions of few channels to a group, and average pools of 3x3 pixels, run in
compiled code both ways. Where no gradient is wanted, on other devices, under autocast, in forward mode, and in what
torch.compile, torch.export, torch.jit and torch.func trace and dispatch modes watch, PyTorch's functions run. Modules
stay torch.nn's, so that what looks at them (thop, exporters) finds what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from search_space.kernels import native
from search_space.kernels.average_pool import average_pool
from search_space.kernels.depthwise import depthwise
from search_space.kernels.grouped import grouped_convolution, grouped_convolution_pays


def fast_gradients() -> AbstractContextManager[object]:
    """A context in which calls of torch.nn.functional take the faster way where there is one."""
    return _FastGradients() if torch.is_grad_enabled() and not is_transformed() else nullcontext()


def is_transformed() -> bool:
    """Return whether what runs now is traced, watched, transformed by torch.func, or differentiated in forward mode."""
    tracing = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    # a dispatch mode looks at PyTorch's operations, as a counter of FLOPs does, and compiled code is none
    watched = torch._C._len_torch_dispatch_stack() > 0
    traced = tracing or watched or torch._C._are_functorch_transforms_active()
    return traced or forward_ad._current_level >= 0


class _FastGradients(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _FASTER.get(function, function)(*args, **(kwargs or {}))


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """As torch.nn.functional.conv2d."""
    side, step, spread = weight.shape[-1], _only(stride), _only(dilation)
    keeps_size = side % 2 == 1 and _only(padding) == (spread or 0) * (side // 2)
    is_depthwise = groups == len(weight) == input.shape[1] and weight.shape[1:] == (1, side, side)
    if bias is None and keeps_size and spread and step in (1, 2) and _is_ours(input, weight):
        if is_depthwise:
            return depthwise(input, weight, stride=step, dilation=spread)
        if spread == 1 and grouped_convolution_pays(input, weight, groups):
            return grouped_convolution(input, weight, stride=step, groups=groups)
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As torch.nn.functional.batch_norm."""
    fixed = [value for value in (running_mean, running_var, weight, bias) if value is not None]
    moves = training or len(fixed) < 4 or any(value.requires_grad for value in fixed)
    if moves or len(fixed[0]) != input.shape[1] or not _is_ours(input, *fixed):
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, variance, scale, shift = fixed
    factor = scale * torch.rsqrt(variance + eps)
    return torch.addcmul((shift - mean * factor).view(-1, 1, 1), input, factor.view(-1, 1, 1))


def _average_pool(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """As torch.nn.functional.avg_pool2d."""
    sizes = _only(kernel_size), _only(kernel_size if stride is None else stride), _only(padding)
    counts_neighbours = not (ceil_mode or count_include_pad or divisor_override)
    if sizes == (3, 1, 1) and counts_neighbours and _is_ours(input) and native.supports_average_pool(input):
        return average_pool(input)
    return F.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


_FASTER: Mapping[Callable[..., Any], Callable[..., Any]] = MappingProxyType(
    {F.conv2d: _convolution, F.batch_norm: _batch_norm, F.avg_pool2d: _average_pool}
)


def _is_ours(images: Tensor, *weights: Tensor) -> bool:
    """Return whether a gradient will be wanted, of images in channels_last and real numbers on the CPU."""
    return (
        torch.is_grad_enabled()
        and any(value.requires_grad for value in (images, *weights))
        and images.ndim == 4
        and images.dtype in (torch.float32, torch.float64)
        and all(value.dtype == images.dtype and value.device.type == "cpu" for value in (images, *weights))
        and images.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
    )


def _only(value: Any) -> int | None:
    """Return the number that stands for both dimensions; None where they differ, or where it is said in words."""
    values = {value} if isinstance(value, int) else set(value)
    found = values.pop()
    return found if isinstance(found, int) and not values else None
