"""The arithmetic of mixed edges, arranged so that a search step does less of it, with the same results.

Three facts are used, all exact:

- The gradient of a depthwise convolution in its images is the depthwise convolution of the incoming gradient with the
  flipped kernel, which runs up to ten times faster than the libraries' own backward pass, dilated ones most.
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
from torch.nn import functional as F

from search_space import native
from search_space.folding import EPS, fold, fold_backward


class _Depthwise(Function):
    """Depthwise convolution with padding that keeps the size at stride 1."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.dilation = stride, dilation
        return F.conv2d(images, weight, None, stride, _padding(weight, dilation), dilation, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        (slope,) = slopes
        of_images = of_weight = None
        if _wanted(ctx, 0):
            of_images = _slope_in_images(images, weight, slope, ctx.stride, ctx.dilation)
        if _wanted(ctx, 1):
            of_weight = _DepthwiseWeight.apply(images, slope, weight.shape, ctx.stride, ctx.dilation)  # type: ignore[no-untyped-call]
        return of_images, of_weight, None, None


class _DepthwiseWeight(Function):
    """The gradient of a depthwise convolution in its weight, which is linear in its images and in its own gradient."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, slope: Tensor, shape: torch.Size, stride: int, dilation: int) -> Tensor:
        ctx.save_for_backward(images, slope)
        ctx.stride, ctx.dilation = stride, dilation
        if native.supports_depthwise_weight(images, slope, shape[2]):
            return native.depthwise_weight(images, slope, shape[2], stride, dilation)
        weight = images.new_empty(shape)
        padding = [_padding(weight, dilation)] * 2
        geometry = ([stride] * 2, padding, [dilation] * 2, False, [0, 0], len(weight), [False, True, False])
        of_weight: Tensor = torch.ops.aten.convolution_backward(slope, images, weight, None, *geometry)[1]
        return of_weight

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        images, slope = ctx.saved_tensors
        (along,) = slopes
        of_images = of_slope = None
        if _wanted(ctx, 0):
            of_images = _slope_in_images(images, along, slope, ctx.stride, ctx.dilation)
        if _wanted(ctx, 1):
            of_slope = _Depthwise.apply(images, along, ctx.stride, ctx.dilation)  # type: ignore[no-untyped-call]
        return of_images, of_slope, None, None, None


def _wanted(ctx: Any, index: int) -> bool:
    """Whether this backward pass was asked for the gradient in a tensor; `needs_input_grad` says only that it has one.

    Of leaves the engine does not tell, so weights come as views of parameters.
    """
    node = ctx.next_functions[index][0]
    if node is None or node.name() == "torch::autograd::AccumulateGrad":
        return node is not None
    executed: bool = torch._C._will_engine_execute_node(node)
    return executed


def _padding(weight: Tensor, dilation: int) -> int:
    return dilation * (weight.shape[2] // 2)


def _slope_in_images(images: Tensor, weight: Tensor, slope: Tensor, stride: int, dilation: int) -> Tensor:
    """The gradient of a depthwise convolution in its images: the convolution of its own with the flipped kernel."""
    spread = slope if stride == 1 else _spread(slope, images)
    return depthwise(spread, weight.flip(2, 3), dilation=dilation)


def _spread(slope: Tensor, images: Tensor) -> Tensor:
    """The gradient of a strided output as that of the output of stride 1, which is 0 at the pixels left out."""
    spread = torch.zeros_like(images, dtype=slope.dtype)
    spread[:, :, ::2, ::2] = slope
    return spread


def depthwise(images: Tensor, weight: Tensor, *, stride: int = 1, dilation: int = 1) -> Tensor:
    """[N, C, H, W] * [C, 1, k, k] -> [N, C, ceil(H / stride), ceil(W / stride)]; k odd, stride 1 or 2."""
    weight = weight.view_as(weight).to(
        images.dtype
    )  # autocast, whose images may be bfloat16, does not see this function
    convolved: Tensor = _Depthwise.apply(images, weight, stride, dilation)  # type: ignore[no-untyped-call]
    return convolved


class _BatchNorm(Function):
    """Batch norm without affine, its statistics in double precision."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        rows = as_rows(images)
        mean, factor = _statistics(rows)
        ctx.save_for_backward(images, mean, factor)
        return as_images(torch.addcmul((-mean * factor).to(rows.dtype), rows, factor.to(rows.dtype)), images)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        images, mean, factor = ctx.saved_tensors
        rows, slope = as_rows(images), as_rows(slopes[0])
        if torch.is_grad_enabled():
            mean, factor = _statistics(rows)
        slopes_sum, products = _column_sums(rows, slope)
        along = factor**3 * (products - mean * slopes_sum) / len(rows)
        offset = mean * along - factor * slopes_sum / len(rows)
        of_rows = torch.addcmul(offset.to(rows.dtype), slope, factor.to(rows.dtype))
        return as_images(torch.addcmul(of_rows, rows, -along.to(rows.dtype)), images)


def _statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each column, and 1 / standard deviation, in float64."""
    mean, second = (total / len(rows) for total in _column_sums(rows, rows))
    return mean, torch.rsqrt((second - mean**2).clamp_min(0) + EPS)


def _column_sums(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the rows of right, and of left * right, in float64."""
    if not torch.is_grad_enabled() and native.supports_column_sums(left):
        return native.column_sums(left, right)
    return right.sum(dim=0).double(), (left * right).sum(dim=0).double()


def batch_norm(images: Tensor) -> Tensor:
    """Batch norm by the batch's statistics, without affine: [N, C, H, W] -> the same.

    PyTorch's on the CPU is off by 1e-5 in channels_last, a hundred times more than in its own layout, which moves
    activations across kinks and gradients by 1e-3.
    """
    if images.device.type != "cpu" or images.dtype not in (torch.float32, torch.float64):
        return F.batch_norm(images, None, None, training=True)
    normalised: Tensor = _BatchNorm.apply(images)  # type: ignore[no-untyped-call]
    return normalised


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
    """Sum over terms and groups of scale * batch_norm(rows @ weight), without affine -> [N, D, H, W].

    terms: [N, groups * C, H, W], of any number of groups.  weights: [groups, C, D].  scales: [groups].
    """
    total: Tensor = _NormalisedSum.apply(torch.cat(list(weights)), torch.cat(list(scales)), *terms)  # type: ignore[no-untyped-call]
    return total


def as_rows(images: Tensor) -> Tensor:
    """[N, C, H, W] -> [N * H * W, C], without a copy where the memory is channels_last."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def as_images(rows: Tensor, like: Tensor) -> Tensor:
    """[N * H * W, C] -> [N, C, H, W] in channels_last, without a copy; N, H and W are those of `like`."""
    batch, _, height, width = like.shape
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _by_group(images: Tensor, groups: int) -> Tensor:
    """[N, groups * C, H, W] -> [groups, N * H * W, C], without a copy where the memory is channels_last."""
    return _rows_by_group(as_rows(images), groups)


def _rows_by_group(rows: Tensor, groups: int) -> Tensor:
    """[pixels, groups * C] -> [groups, pixels, C], a view."""
    return rows.view(len(rows), groups, -1).transpose(0, 1)


def _joined_groups(by_group: Tensor) -> Tensor:
    """[groups, pixels, C] -> [pixels, groups * C], a copy."""
    return by_group.transpose(0, 1).flatten(1)
