"""The arithmetic of mixed edges, arranged so that a search step does less of it, with the same results.

Two facts are used, both exact; `depthwise` uses a third:

- A batch norm that follows a pointwise convolution needs no pass over its images: the mean and variance of W^T u follow
  from the mean and covariance of u. So norm, alpha and convolution are one matrix product.
- What enters a node is summed, so the products of all its edges are one, over their concatenated channels.

Images are channels_last, so their rows (pixels by channels) are matrices without a copy. Every function here can be
differentiated any number of times: a backward pass that is itself recorded computes the moments anew, on the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from search_space.kernels.channels_last import as_images, as_rows
from search_space.kernels.folding import fold, fold_backward


class _NormalisedRelu(Function):
    """ReLU of the batch norm of a pointwise convolution by groups."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        groups, _, width = weight.shape
        rows = _by_group(images, groups)
        mean, second = _moments([images], weight)
        folded, bias = fold(mean, second, weight, weight.new_ones(groups))
        output = rows.new_empty(rows.shape[1], groups * width)
        _rows_by_group(output, groups).copy_(bias).baddbmm_(rows, folded.to(rows.dtype))
        rectified = as_images(output.relu_(), images)
        ctx.save_for_backward(images, weight, mean, second, rectified)
        return rectified

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor]:
        images, weight, mean, second, rectified = ctx.saved_tensors
        if torch.is_grad_enabled():
            mean, second = _moments([images], weight)
        rows = _by_group(images, len(weight))
        slope = _by_group(torch.ops.aten.threshold_backward(slopes[0], rectified, 0), len(weight))
        of_folded, of_bias = rows.transpose(1, 2) @ slope, slope.sum(dim=1, keepdim=True)
        fold_of = (mean, second, weight, weight.new_ones(len(weight)))
        folded, offset, matrix, of_weight, _ = fold_backward(fold_of, of_folded, of_bias, rows.shape[1])
        if not ctx.needs_input_grad[0]:
            return None, of_weight
        if torch.is_grad_enabled():
            by_group = torch.baddbmm(torch.baddbmm(offset, slope, folded.transpose(1, 2)), rows, matrix)
            return as_images(_joined_groups(by_group), images), of_weight
        of_rows = rows.new_empty(rows.shape[1], images.shape[1])
        by_group = _rows_by_group(of_rows, len(weight)).copy_(offset)
        by_group.baddbmm_(slope, folded.transpose(1, 2)).baddbmm_(rows, matrix)
        return as_images(of_rows, images), of_weight


class _NormalisedSum(Function):
    """Sum over terms and groups of the scaled batch norms of pointwise convolutions."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, *terms: Tensor) -> Tensor:
        mean, second = _moments(terms, weight)
        folded, bias = fold(mean, second, weight, scale)
        ctx.save_for_backward(weight, scale, mean, second, *terms)
        ctx.groups = [images.shape[1] // weight.shape[1] for images in terms]
        rows = as_rows(terms[0])
        total = rows.new_empty(len(rows), weight.shape[2]).copy_(bias.sum(dim=0))
        for images, part in zip(terms, torch.split(folded.to(rows.dtype), ctx.groups), strict=True):
            total.addmm_(as_rows(images), part.flatten(0, 1))
        return as_images(total, terms[0])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        weight, scale, mean, second, *terms = ctx.saved_tensors
        if torch.is_grad_enabled():
            mean, second = _moments(terms, weight)
        slope = as_rows(slopes[0])
        of_folded = torch.cat([as_rows(images).t() @ slope for images in terms]).view_as(weight)
        of_bias = slope.sum(dim=0).expand(len(weight), 1, -1)
        *parts, of_weight, of_scale = fold_backward((mean, second, weight, scale), of_folded, of_bias, len(slope))
        of_terms: list[Tensor | None] = []
        for images, wanted, folded, offset, matrix in zip(
            terms, ctx.needs_input_grad[2:], *(torch.split(part, ctx.groups) for part in parts), strict=True
        ):
            if not wanted:
                of_terms.append(None)
                continue
            of_rows, rows = (
                torch.addmm(offset.flatten(), slope, folded.flatten(0, 1).t()),
                _by_group(images, len(folded)),
            )
            if torch.is_grad_enabled():  # recorded writes into views copy the whole again on their way back
                of_rows = of_rows + _joined_groups(rows @ matrix)
            else:
                _rows_by_group(of_rows, len(folded)).baddbmm_(rows, matrix)
            of_terms.append(as_images(of_rows, images))
        return of_weight, of_scale, *of_terms


def _moments(terms: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [groups, 1, C] and second moment [groups, C, C] over the pixels, of all terms' groups of C channels."""
    means, seconds = [], []
    for images in terms:
        rows = _by_group(images, images.shape[1] // weight.shape[1]).to(weight.dtype)
        means.append(rows.mean(dim=1, keepdim=True))
        seconds.append(rows.transpose(1, 2) @ rows / rows.shape[1])
    return torch.cat(means), torch.cat(seconds)


def normalised_relu(images: Tensor, weight: Tensor) -> Tensor:
    """ReLU(batch_norm(rows @ weight)) by groups: [N, groups * C, H, W], [groups, C, D] -> [N, groups * D, H, W]."""
    rectified: Tensor = _NormalisedRelu.apply(images, weight)  # type: ignore[no-untyped-call]
    return rectified


def normalised_sum(terms: Sequence[Tensor], weights: Sequence[Tensor], scales: Sequence[Tensor]) -> Tensor:
    """Return the sum over terms and groups of scale * batch_norm(rows @ weight), without affine -> [N, D, H, W].

    terms: [N, groups * C, H, W], of any number of groups.  weights: [groups, C, D].  scales: [groups].
    """
    total: Tensor = _NormalisedSum.apply(torch.cat(list(weights)), torch.cat(list(scales)), *terms)  # type: ignore[no-untyped-call]
    return total


def _by_group(images: Tensor, groups: int) -> Tensor:
    """[N, groups * C, H, W] -> [groups, N * H * W, C], without a copy where the memory is channels_last."""
    return _rows_by_group(as_rows(images), groups)


def _rows_by_group(rows: Tensor, groups: int) -> Tensor:
    """[pixels, groups * C] -> [groups, pixels, C], a view."""
    return rows.view(len(rows), groups, -1).transpose(0, 1)


def _joined_groups(by_group: Tensor) -> Tensor:
    """[groups, pixels, C] -> [pixels, groups * C], a copy."""
    return by_group.transpose(0, 1).flatten(1)
