"""The operations an edge may hold, as modules, and the table that finds them by name.

Of DARTS (Liu et al. 2019), NASNet (conv_7x1_1x7), NAS-Bench-201 (nor_conv, Dong & Yang 2020) and RobustDARTS (noise,
Zela et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.cells.genotype import OPERATION_NAMES
from search_space.kernels.statistics import SearchBatchNorm

NormFactory = Callable[[int], nn.Module]
OperationFactory = Callable[[int, int, NormFactory], nn.Module]

batch_norm: NormFactory = nn.BatchNorm2d
"""For networks that are trained: learned scale and shift, running statistics for evaluation."""

search_batch_norm: NormFactory = SearchBatchNorm
"""For the supernet: a learned scale would compete with alpha, and running statistics mix architectures that change.

Without them every mode uses the statistics of the batch, so that an attack sees the function that is trained.
"""


class Zero(nn.Module):
    """The operation `none`: no connection. [N, C, H, W] -> zeros of [N, C, ceil(H / stride), ceil(W / stride)]."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(images[:, :, :: self.stride, :: self.stride])


class Noise(nn.Module):
    """The operation `noise`: N(0, 1) in place of the features, drawn anew in every call and mode (Zela et al. 2020).

    [N, C, H, W] -> [N, C, ceil(H / stride), ceil(W / stride)], from torch's global generator. No gradient passes. A
    network that holds it gives other logits at each call, when it is evaluated and attacked too, as in the paper.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        """Noise of the output's shape."""
        return torch.randn_like(images[:, :, :: self.stride, :: self.stride])


class EverySecondPixel(nn.Module):
    """What a 1x1 convolution of stride 2 reads: [N, C, H, W] -> [N, C, ceil(H / 2), ceil(W / 2)].

    It stands before a 1x1 convolution of stride 1. oneDNN 3.12, on processors with AVX2 and without AVX-512, writes
    beyond its memory in the backward pass of one with a stride over fewer than 8 channels in channels_last
    (https://github.com/uxlfoundation/oneDNN/issues/6035).
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the pixels of even rows and columns."""
        return images[:, :, ::2, ::2]


def even_and_odd_pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels of even rows and columns, and those of odd ones: [N, C, ceil(H / 2), ceil(W / 2)] each.

    An odd side has one odd pixel fewer than even ones: zeros beyond the border make both the same size.
    """
    rows = images.permute(0, 2, 3, 1)  # gradients of slices keep the order of what is sliced
    shifted = F.pad(rows, (0, 0, 0, rows.shape[2] % 2, 0, rows.shape[1] % 2))[:, 1:, 1:]
    even, odd = (part[:, ::2, ::2].contiguous().permute(0, 3, 1, 2) for part in (rows, shifted))
    return even, odd


def concatenate(parts: Sequence[Tensor], groups: int) -> Tensor:
    """Join the channels of features [N, groups * C_i, H, W], group by group: [N, groups * sum of C_i, H, W]."""
    if groups == 1:
        return torch.cat(tuple(parts), dim=1)
    rows = [
        part.permute(0, 2, 3, 1).reshape(len(part), *part.shape[2:], groups, -1) for part in parts
    ]  # keeps channels_last
    return torch.cat(rows, dim=4).flatten(3).permute(0, 3, 1, 2)


class FactorizedReduce(nn.Module):
    """Halves the resolution by two 1x1 convolutions of every second pixel, the second shifted by one; any size.

    groups: of channels, each reduced by itself; more than one in networks side by side.
    """

    groups = 1

    def __init__(self, in_channels: int, out_channels: int, norm: NormFactory) -> None:
        super().__init__()
        self.even = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, bias=False)
        self.norm = norm(out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, ceil(H / 2), ceil(W / 2)]."""
        even, odd = even_and_odd_pixels(F.relu(images))
        normalised: Tensor = self.norm(concatenate([self.even(even), self.odd(odd)], self.groups))
        return normalised


def relu_conv_norm(
    in_channels: int, out_channels: int, norm: NormFactory, *, kernel: int = 1, stride: int = 1
) -> nn.Sequential:
    """ReLU, convolution, batch norm; of 1x1, it gives the input of a cell the cell's number of channels."""
    first: nn.Module = nn.ReLU()
    if kernel == 1 and stride == 2:
        first, stride = nn.Sequential(first, EverySecondPixel()), 1
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(first, convolution, norm(out_channels))


def _depthwise_separable(channels: int, kernel: int, stride: int, dilation: int, norm: NormFactory) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        norm(channels),
    ]


def _separable(kernel: int, channels: int, stride: int, norm: NormFactory) -> nn.Module:
    first = _depthwise_separable(channels, kernel, stride, 1, norm)
    return nn.Sequential(*first, *_depthwise_separable(channels, kernel, 1, 1, norm))


def _dilated(kernel: int, channels: int, stride: int, norm: NormFactory) -> nn.Module:
    return nn.Sequential(*_depthwise_separable(channels, kernel, stride, 2, norm))


def _conv_7x1_1x7(channels: int, stride: int, norm: NormFactory) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        norm(channels),
    )


def _convolution(kernel: int, channels: int, stride: int, norm: NormFactory) -> nn.Module:
    return relu_conv_norm(channels, channels, norm, kernel=kernel, stride=stride)


def _max_pool(channels: int, stride: int, norm: NormFactory) -> nn.Module:
    return nn.MaxPool2d(3, stride, padding=1)


def _average_pool(channels: int, stride: int, norm: NormFactory) -> nn.Module:
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


def _skip(channels: int, stride: int, norm: NormFactory) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, norm)


OPERATIONS: Mapping[str, OperationFactory] = MappingProxyType(
    {
        "none": lambda channels, stride, norm: Zero(stride),
        "max_pool_3x3": _max_pool,
        "avg_pool_3x3": _average_pool,
        "skip_connect": _skip,
        "sep_conv_3x3": partial(_separable, 3),
        "sep_conv_5x5": partial(_separable, 5),
        "sep_conv_7x7": partial(_separable, 7),
        "dil_conv_3x3": partial(_dilated, 3),
        "dil_conv_5x5": partial(_dilated, 5),
        "conv_7x1_1x7": _conv_7x1_1x7,
        "nor_conv_1x1": partial(_convolution, 1),
        "nor_conv_3x3": partial(_convolution, 3),
        "noise": lambda channels, stride, norm: Noise(stride),
    }
)
"""Name -> factory(channels, stride, norm). Every module maps [N, C, H, W] to [N, C, ceil(H/stride), ceil(W/stride)]."""

if set(OPERATIONS) != {"none", *OPERATION_NAMES}:
    raise ImportError("operations.OPERATIONS and genotype.OPERATION_NAMES name different operations")


@cache
def is_parametric(name: str) -> bool:
    """Return whether an operation of OPERATIONS has weights to train, where its stride is 1.

    >>> [name for name in ("none", "avg_pool_3x3", "skip_connect", "nor_conv_1x1") if is_parametric(name)]
    ['nor_conv_1x1']
    """
    with torch.device("meta"):  # built for its shape alone
        return any(True for _ in OPERATIONS[name](1, 1, search_batch_norm).parameters())
