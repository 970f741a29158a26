"""Entries of a tensor by their numbers. A Python list as an index is sent to the device each time; this one stays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor


def entries(tensor: Tensor, places: Sequence[int]) -> Tensor:
    """Return the entries at these places of the last axis; those of neighbours are a view.

    >>> entries(torch.tensor([[5, 6, 7, 8]]), (0, 2)).tolist(), entries(torch.tensor([5, 6, 7, 8]), (1, 2)).tolist()
    ([[5, 7]], [6, 7])
    """
    first, last = places[0], places[-1]
    if list(places) == list(range(first, last + 1)):
        return tensor[..., first : last + 1]
    return tensor.index_select(-1, _index(tuple(places), tensor.device))


@cache
def _index(places: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):  # one that was made there could never be kept for a gradient
        return torch.tensor(places, device=device)
