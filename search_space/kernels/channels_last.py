"""Images as matrices of pixels by channels, and back: without a copy where the memory is channels_last."""

from __future__ import annotations

from torch import Tensor


def as_rows(images: Tensor) -> Tensor:
    """[N, C, H, W] -> [N * H * W, C], without a copy where the memory is channels_last."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def as_images(rows: Tensor, like: Tensor) -> Tensor:
    """[N * H * W, C] -> [N, C, H, W] in channels_last, without a copy; N, H and W are those of `like`."""
    batch, _, height, width = like.shape
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)
