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

from search_space.kernels.channels_last import as_images, as_rows, by_group, rows_by_group
from search_space.kernels.folding import Fold, fold, fold_backward


class _NormalisedRelus(Function):
    """ReLU of the batch norm of a pointwise convolution by groups, of several images by one fold."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, *images: Tensor) -> tuple[Tensor, ...]:
        ctx.groups = _groups(images, weight)
        of = fold(*_moments(images, weight), weight)
        parts = (torch.split(part.to(images[0].dtype), ctx.groups) for part in (of.folded, of.bias))
        rectified = []
        for each, folded, bias in zip(images, *parts, strict=True):
            rows = rows_by_group(each, len(folded))
            output = rows.new_empty(rows.shape[1], folded.shape[0] * folded.shape[2])
            by_group(output, len(folded)).copy_(bias).baddbmm_(rows, folded)
            rectified.append(as_images(output.relu_(), each))
        ctx.save_for_backward(*of.tensors(), *images, *rectified)
        return tuple(rectified)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        of, saved = Fold.read(ctx.saved_tensors)
        images, rectified = saved[: len(slopes)], saved[len(slopes) :]
        if torch.is_grad_enabled():
            of = fold(*_moments(images, of.weight), of.weight)
        rows, of_outputs, products, sums = [], [], [], []
        for each, output, slope, groups in zip(images, rectified, slopes, ctx.groups, strict=True):
            rows.append(rows_by_group(each, groups))
            of_outputs.append(rows_by_group(torch.ops.aten.threshold_backward(slope, output, 0), groups))
            products.append(torch.bmm(rows[-1].transpose(1, 2), of_outputs[-1]))
            sums.append(of_outputs[-1].sum(dim=1, keepdim=True))
        found = fold_backward(
            of,
            torch.cat(products).to(of.weight.dtype),
            torch.cat(sums).to(of.weight.dtype),
            rows[0].shape[1],
            wants_weight=ctx.needs_input_grad[0],
            wants_scale=False,
        )
        parts = (torch.split(part.to(images[0].dtype), ctx.groups) for part in (of.folded, found.offset, found.matrix))
        of_images = [
            _through(each, own, slope, *part) if wanted else None
            for wanted, each, own, slope, *part in zip(
                ctx.needs_input_grad[1:], images, rows, of_outputs, *parts, strict=True
            )
        ]
        return found.weight, *of_images


def _through(images: Tensor, rows: Tensor, slope: Tensor, folded: Tensor, offset: Tensor, matrix: Tensor) -> Tensor:
    """Return slope @ folded^T + rows @ matrix + offset of each group, as images. rows, slope: [groups, pixels, C]."""
    if torch.is_grad_enabled():
        total = torch.baddbmm(torch.baddbmm(offset, slope, folded.transpose(1, 2)), rows, matrix)
        return as_images(total.transpose(0, 1).flatten(1), images)
    of_rows = rows.new_empty(rows.shape[1], images.shape[1])
    total = by_group(of_rows, len(rows)).copy_(offset)
    total.baddbmm_(slope, folded.transpose(1, 2)).baddbmm_(rows, matrix)
    return as_images(of_rows, images)


class _NormalisedSum(Function):
    """Sum over terms and groups of the scaled batch norms of pointwise convolutions."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, *terms: Tensor) -> Tensor:
        of = fold(*_moments(terms, weight), weight, scale)
        ctx.groups = _groups(terms, weight)
        ctx.save_for_backward(*of.tensors(), scale, *terms)
        rows = as_rows(terms[0])
        total = rows.new_empty(len(rows), weight.shape[2]).copy_(of.bias.sum(dim=0))
        for images, part in zip(terms, torch.split(of.folded.to(rows.dtype), ctx.groups), strict=True):
            total.addmm_(as_rows(images), part.flatten(0, 1))
        return as_images(total, terms[0])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        of, (scale, *terms) = Fold.read(ctx.saved_tensors)
        if torch.is_grad_enabled():
            of = fold(*_moments(terms, of.weight), of.weight, scale)
        weight, slope = of.weight, as_rows(slopes[0])
        rows = [as_rows(images) for images in terms]
        found = fold_backward(
            of,
            torch.cat([torch.mm(each.t(), slope) for each in rows]).view_as(weight).to(weight.dtype),
            slope.sum(dim=0).to(weight.dtype).expand(len(weight), 1, -1),
            len(slope),
            wants_weight=ctx.needs_input_grad[0],
            wants_scale=ctx.needs_input_grad[1],
        )
        of_terms: list[Tensor | None] = []
        parts = (torch.split(part.to(slope.dtype), ctx.groups) for part in (of.folded, found.offset, found.matrix))
        for images, own, wanted, folded, offset, matrix in zip(
            terms, rows, ctx.needs_input_grad[2:], *parts, strict=True
        ):
            if not wanted:
                of_terms.append(None)
                continue
            of_rows = torch.addmm(offset.flatten(), slope, folded.flatten(0, 1).t())
            if torch.is_grad_enabled():  # recorded writes into views copy the whole again on their way back
                added = torch.bmm(by_group(own, len(folded)), matrix)
                of_rows = of_rows + added.transpose(0, 1).flatten(1)
            else:
                by_group(of_rows, len(folded)).baddbmm_(by_group(own, len(folded)), matrix)
            of_terms.append(as_images(of_rows, images))
        return found.weight, found.scale, *of_terms


def _groups(terms: Sequence[Tensor], weight: Tensor) -> list[int]:
    """Return of how many groups of C channels each term is. weight: [groups, C, D]."""
    return [images.shape[1] // weight.shape[1] for images in terms]


def _moments(terms: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [groups, 1, C] and second moment [groups, C, C] over the pixels, of all terms' groups of C channels."""
    rows = [
        rows_by_group(images, groups).to(weight.dtype)
        for images, groups in zip(terms, _groups(terms, weight), strict=True)
    ]
    mean = torch.cat([each.mean(dim=1, keepdim=True) for each in rows])
    products = torch.cat([torch.bmm(each.transpose(1, 2), each) for each in rows])
    return mean, products / rows[0].shape[1]


def normalised_relus(images: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """ReLU(batch_norm(rows @ weight)) by groups, of each images and weight, which have one number of pixels.

    images: [N, groups * C, H, W], of any number of groups.  weights: [groups, C, D].  Returns [N, groups * D, H, W].
    """
    rectified: tuple[Tensor, ...] = _NormalisedRelus.apply(torch.cat(list(weights)), *images)  # type: ignore[no-untyped-call]
    return rectified


def normalised_sum(terms: Sequence[Tensor], weights: Sequence[Tensor], scales: Sequence[Tensor]) -> Tensor:
    """Return the sum over terms and groups of scale * batch_norm(rows @ weight), without affine -> [N, D, H, W].

    terms: [N, groups * C, H, W], of any number of groups.  weights: [groups, C, D].  scales: [groups].
    """
    total: Tensor = _NormalisedSum.apply(torch.cat(list(weights)), torch.cat(list(scales)), *terms)  # type: ignore[no-untyped-call]
    return total
