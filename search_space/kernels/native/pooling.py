"""The compiled average pool of 3x3 pixels, stride 1, for float32 in channels_last on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from search_space.kernels.native.loading import library, takes_type


def supports_average_pool(images: Tensor) -> bool:
    """Return whether `average_pool` takes these: images [N, C, H, W] with at least one pixel."""
    return images.numel() > 0 and takes_type((images,))


def average_pool(images: Tensor, *, back: bool = False) -> Tensor:
    """Return the means of every pixel and its neighbours in the image: [N, C, H, W] -> the same.

    back: the adjoint, which takes the gradient in the means to that in the images.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = images.shape
    out = torch.empty_like(images, memory_format=torch.channels_last)
    sizes = batch, height, width, channels, torch.get_num_threads(), back
    library().average_pool(images.data_ptr(), *sizes, out.data_ptr())  # type: ignore[union-attr] # `supports_...`
    return out
