"""Whose images batch norm takes its mean and variance of: those of one process, or of all processes together.

A step that several processes share is that of one process with the whole batch where its statistics are those of the
whole batch, so sums over pixels go through an all-reduce that can be differentiated any number of times. The gradient
that a process gets is then that of the sum of all processes' losses in its own images and its own use of the weights:
the mean of the latter over processes is the gradient of the mean loss, and the signs of the former, which attacks read,
are those of the whole batch's loss. All processes must make the same passes in the same order.

torch.nn.SyncBatchNorm does this on CUDA alone, and cannot be differentiated twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function

from search_space.kernels import batch_norm, fused
from search_space.kernels.channels_last import as_images, as_rows
from search_space.kernels.folding import BATCH_NORM_EPS


@dataclass(frozen=True)
class Statistics:
    """The functions of `fused` that take moments over pixels.

    synchronised: over the pixels of all processes; compiled code does not know them.
    """

    batch_norm: Callable[[Tensor], Tensor]
    normalised_relus: Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]
    normalised_sum: Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Tensor]
    synchronised: bool


OF_ONE_PROCESS = Statistics(
    batch_norm.normalise_batch, fused.normalised_relus, fused.normalised_sum, synchronised=False
)


class Normalising:
    """What the modules that take statistics have in common."""

    statistics: Statistics = OF_ONE_PROCESS


class SearchBatchNorm(Normalising, nn.BatchNorm2d):
    """Batch norm of a supernet: no running statistics and no affine, which would undo the alphas' scale."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        """As `batch_norm.normalise_batch`."""
        return self.statistics.batch_norm(images)


class TrackedBatchNorm(Normalising, nn.BatchNorm2d):
    """torch.nn.BatchNorm2d, affine and with running statistics, whose batch may be that of all processes."""

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> the same; without running statistics by the batch's in every mode, as in torch.nn."""
        takes_batch = self.training or self.running_mean is None
        if not (takes_batch and self.statistics.synchronised):
            return super().forward(images)
        rows = as_rows(images)
        count, mean, variance = _moments(rows)
        if self.training and self.running_mean is not None:
            self._track(count, mean.detach(), variance.detach())
        factor = torch.rsqrt(variance + self.eps) * self.weight
        return as_images(_affine(rows, factor, self.bias - mean * factor).to(images.dtype), images)

    def _track(self, count: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards the batch's; variances there are unbiased, as in torch.nn."""
        share = cast("float", self.momentum)
        unbiased = variance * (count / (count - 1))
        for running, found in ((self.running_mean, mean), (self.running_var, unbiased)):
            cast("Tensor", running).lerp_(found.squeeze(-2).to(cast("Tensor", running)), share)
        cast("Tensor", self.num_batches_tracked).add_(1)


def synchronise_statistics(module: nn.Module) -> None:
    """Let every batch norm in a supernet or network use the batch of all processes; parameters stay the same objects.

    The processes are those of torch.distributed's default group; where there is none, this one.
    Raises ValueError for batch norm without affine or running statistics that is none of a supernet's.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _tracked(child))
    _set(module, OF_ALL_PROCESSES)


@contextmanager
def own_statistics(module: nn.Module) -> Iterator[None]:
    """For the duration each process takes the statistics of its own batch, and need not keep in step with others."""
    before = [(part, part.statistics) for part in module.modules() if isinstance(part, Normalising)]
    _set(module, OF_ONE_PROCESS)
    try:
        yield
    finally:
        for part, statistics in before:
            part.statistics = statistics


def _set(module: nn.Module, statistics: Statistics) -> None:
    for part in module.modules():
        if isinstance(part, Normalising):
            part.statistics = statistics


def _tracked(norm: nn.BatchNorm2d) -> TrackedBatchNorm:
    """Make the same batch norm, with the same parameters and buffers."""
    if not (norm.affine and norm.track_running_stats and norm.momentum):
        raise ValueError(f"expected batch norm with affine, running statistics and a momentum, found {norm}")
    with torch.device("meta"):
        tracked = TrackedBatchNorm(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    tracked._parameters, tracked._buffers = norm._parameters, norm._buffers
    return tracked.train(norm.training)


def _normalised(rows: Tensor) -> Tensor:
    """Batch norm without affine over the pixels of all processes: [..., pixels, C] -> the same."""
    _, mean, variance = _moments(rows)
    factor = torch.rsqrt(variance + BATCH_NORM_EPS)
    return _affine(rows, factor, -mean * factor)


def _affine(rows: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    return torch.addcmul(offset.to(rows.dtype), rows, factor.to(rows.dtype))


def _moments(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the number of pixels [], mean and variance over them [..., 1, C], of all processes, in float64.

    rows: [..., pixels, C], of this process; processes may have different numbers of pixels.
    """
    shape, double = (2, *rows.shape[:-2], 1, rows.shape[-1]), torch.float64
    sums = [part.sum(dim=-2, keepdim=True, dtype=double) for part in (rows, rows * rows)]
    count = sums[0].new_full((1,), rows.shape[-2])
    total = _of_all(torch.cat([torch.stack(sums).flatten(), count]))
    mean, second = (total[:-1] / total[-1]).view(shape)
    return total[-1].detach(), mean, (second - mean**2).clamp_min(0)  # below 0 by rounding alone


class _SumOverProcesses(Function):
    """It is its own adjoint: a process's values enter the sums that all processes get."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return _of_all(slopes[0])


def _of_all(values: Tensor) -> Tensor:
    """Sum over processes, to the same bits in each."""
    if not distributed.is_initialized():
        return values
    total: Tensor = _SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]
    return total


def _pointwise(images: Tensor, weight: Tensor) -> Tensor:
    """[N, groups * C, H, W], [groups, C, D] -> rows [groups, pixels, D]."""
    rows = as_rows(images)
    return rows.view(len(rows), len(weight), -1).transpose(0, 1) @ weight


def _batch_norm(images: Tensor) -> Tensor:
    return as_images(_normalised(as_rows(images)), images)


def _normalised_relus(images: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    products = [_pointwise(each, weight) for each, weight in zip(images, weights, strict=True)]
    normalised = _normalised(torch.cat(products))  # at once: each all-reduce waits for the other processes
    parts = torch.split(normalised.relu(), [len(weight) for weight in weights])
    return [as_images(part.transpose(0, 1).flatten(1), each) for part, each in zip(parts, images, strict=True)]


def _normalised_sum(terms: Sequence[Tensor], weights: Sequence[Tensor], scales: Sequence[Tensor]) -> Tensor:
    products = [_pointwise(images, weight) for images, weight in zip(terms, weights, strict=True)]
    normalised = _normalised(torch.cat(products))  # at once: each all-reduce waits for the other processes
    scale = torch.cat(list(scales)).to(normalised.dtype)
    return as_images(torch.einsum("g,gpc->pc", scale, normalised), terms[0])


OF_ALL_PROCESSES = Statistics(_batch_norm, _normalised_relus, _normalised_sum, synchronised=True)
