"""Compiled convolutions of few channels to a group, and their gradients, for float32 in channels_last on the CPU."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from torch import Tensor

from compiled import fields
from search_space.kernels.native.loading import library, takes_type


class _GroupedConvolution(ctypes.Structure):
    _fields_ = fields(
        integers="batch height width in_channels out_channels groups kernel stride threads channel_step tap_step"
    )


def supports_grouped_convolution(images: Tensor, weight: Tensor) -> bool:
    """Return whether the functions here take these: images [N, groups * C, H, W], weight [groups * O, C, k, k].

    Kernels are 1x1 or 3x3; images have at least one pixel.
    """
    return weight.shape[2:] in ((1, 1), (3, 3)) and images.numel() > 0 and takes_type((images, weight))


def grouped_convolution(images: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """Return the convolution padded by k // 2: [N, groups * C, H, W] -> [N, groups * O, ceil(H / s), ceil(W / s)].

    weight: [groups * O, C, k, k].  stride: s, 1 or 2.
    """
    images, weight = _laid_out(images), _dense(weight)
    if stride == 1 and len(weight) == images.shape[1]:
        out = torch.empty_like(images)  # takes half as long as by its sizes
    else:
        size = len(images), len(weight), *(-(-side // stride) for side in images.shape[2:])
        out = torch.empty(size, dtype=torch.float32, memory_format=torch.channels_last)
    _run(images.shape, weight, stride, groups, False, images, weight, out)
    return out


def grouped_convolution_images(shape: torch.Size, weight: Tensor, slope: Tensor, stride: int, groups: int) -> Tensor:
    """Return the gradient of `grouped_convolution` in its images, of that shape, from that in what it gave."""
    slope, weight = _laid_out(slope), _dense(weight)
    out = torch.empty(shape, dtype=torch.float32, memory_format=torch.channels_last)
    _run(shape, weight, stride, groups, True, slope, weight, out)
    return out


def grouped_convolution_weight(images: Tensor, weight: Tensor, slope: Tensor, stride: int, groups: int) -> Tensor:
    """Return the gradient of `grouped_convolution` in its weight, from that in what it gave.

    The same whatever the number of threads.
    """
    images, slope, out = _laid_out(images), _laid_out(slope), torch.empty_like(_dense(weight))
    _run(images.shape, out, stride, groups, None, images, slope, out)
    return out


def _run(shape: torch.Size, weight: Tensor, stride: int, groups: int, back: bool | None, *values: Tensor) -> None:
    """Run a pass, forward or back, or where `back` is None that of the weight's gradient."""
    of = _sizes(shape, weight.shape, weight.stride(), stride, groups, torch.get_num_threads())
    first, second, out = values
    pointers = first.data_ptr(), second.data_ptr(), out.data_ptr()
    if back is None:
        library().grouped_convolution_weight(of, *pointers)  # type: ignore[union-attr] # `supports_...` has seen it
    else:
        library().grouped_convolution(of, back, *pointers)  # type: ignore[union-attr]


@lru_cache(maxsize=256)
def _sizes(
    images: torch.Size,
    weight: torch.Size,
    strides: tuple[int, ...],
    stride: int,
    groups: int,
    threads: int,
) -> bytes:
    """Return the structure of a convolution, which a network asks for again and again."""
    batch, _, height, width = images
    outputs, inputs, side, _ = weight
    steps = strides[1], strides[3]  # of a 3x3 kernel: rows follow one another
    sizes = (batch, height, width, inputs, outputs // groups, groups, side, stride, threads, *steps)
    return bytes(_GroupedConvolution(*sizes))


def _laid_out(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _dense(weight: Tensor) -> Tensor:
    """Return the weight without gaps, its channels either before its pixels or after them."""
    in_order = weight.is_contiguous() or weight.is_contiguous(memory_format=torch.channels_last)
    return weight if in_order else weight.contiguous()
