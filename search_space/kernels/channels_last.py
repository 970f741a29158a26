"""Images as matrices of pixels by channels, and back: without a copy where the memory is channels_last.

Where nothing is recorded one view does it. Recorded, several plain ones do, whose ways back are as simple.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BATCHED = "Batched"


def as_rows(images: Tensor) -> Tensor:
    """[N, C, H, W] -> [N * H * W, C], without a copy where the memory is channels_last."""
    if _is_dense(images):
        batch, channels, height, width = images.shape
        return images.as_strided((batch * height * width, channels), (channels, 1))
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def rows_by_group(images: Tensor, groups: int) -> Tensor:
    """[N, groups * C, H, W] -> [groups, N * H * W, C], without a copy where the memory is channels_last."""
    if _is_dense(images):
        batch, channels, height, width = images.shape
        size = channels // groups
        return images.as_strided((groups, batch * height * width, size), (size, channels, 1))
    return by_group(as_rows(images), groups)


def by_group(rows: Tensor, groups: int) -> Tensor:
    """[pixels, groups * C] -> [groups, pixels, C], a view."""
    return rows.view(len(rows), groups, -1).transpose(0, 1)


def as_images(rows: Tensor, like: Tensor) -> Tensor:
    """[N * H * W, C] -> [N, C, H, W] in channels_last, without a copy; N, H and W are those of `like`."""
    batch, _, height, width = like.shape
    if not torch.is_grad_enabled() and not _is_batched(rows) and rows.is_contiguous():
        channels = rows.shape[1]
        strides = (height * width * channels, 1, width * channels, channels)
        return rows.as_strided((batch, channels, height, width), strides)
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _is_dense(images: Tensor) -> bool:
    """Return whether one view is enough: nothing is recorded, and each pixel's channels follow the last one's."""
    return (
        not torch.is_grad_enabled()
        and not _is_batched(images)
        and images.is_contiguous(memory_format=torch.channels_last)
    )


def _is_batched(tensor: Tensor) -> bool:
    """Return whether it stands for several tensors of vmap, which does not tell their layout."""
    return torch._C._dispatch_keys(tensor).has(_BATCHED)
