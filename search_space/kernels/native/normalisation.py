"""Compiled batch norm of rows, without affine: statistics and normalisation in one call each way."""

from __future__ import annotations

import torch
from torch import Tensor

from search_space.kernels.native.loading import library, takes_type


def supports_normalise(*rows: Tensor) -> bool:
    """Return whether `normalise` and `normalise_backward` take these: rows [pixels, C], of 1, 2, 4 or 8 k channels.

    With fewer than 8 channels the rows have to fill vectors of 8.
    """
    pixels, channels = rows[0].shape
    fits = channels % 8 == 0 or (channels in (1, 2, 4) and pixels * channels % 8 == 0)
    return pixels > 0 and fits and takes_type(rows)


def normalise(rows: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows of mean 0 and variance 1 in each column, [pixels, C], with mean and 1 / deviation, float64 [C] each.

    eps: added to the variance.
    """
    rows = rows.contiguous()
    out, kept = torch.empty_like(rows), rows.new_empty(2, rows.shape[1], dtype=torch.float64)
    sizes = (*rows.shape, torch.get_num_threads())
    library().batch_norm(rows.data_ptr(), *sizes, eps, kept.data_ptr(), out.data_ptr())  # type: ignore[union-attr]
    return out, kept[0], kept[1]


def normalise_backward(rows: Tensor, slope: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """Return the gradient in rows from that in what `normalise` made of them: [pixels, C] twice -> [pixels, C].

    mean, factor: as `normalise` returned them.
    """
    rows, slope, kept = rows.contiguous(), slope.contiguous(), torch.stack([mean, factor])
    out, sizes = torch.empty_like(rows), (*rows.shape, torch.get_num_threads())
    pointers = (rows.data_ptr(), slope.data_ptr())
    library().batch_norm_backward(*pointers, *sizes, kept.data_ptr(), out.data_ptr())  # type: ignore[union-attr]
    return out
