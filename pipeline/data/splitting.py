"""Disjoint parts and balanced subsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pipeline.data.images import ImageSet

SPLIT_SEED = 0  # subsets and test images are part of a data set, not of a run


def split(images: ImageSet, fraction: float, seed: int, *, key: str) -> tuple[ImageSet, ImageSet]:
    """Two disjoint parts, the second with `fraction` of each class; drawn from `seed`.

    key: of the setting that says which fraction.  Raises ValueError that names it where a part would be empty.
    """
    rng = np.random.default_rng(seed)
    labels = images.labels.cpu().numpy()
    second = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        second[of_class[: round(fraction * len(of_class))]] = True
    if second.all() or not second.any():
        raise ValueError(
            f"{key}={fraction:.6g} splits off {'all' if second.all() else 'none'} of {len(labels)} images, class by "
            f"class; expected a part and a rest: {'lower' if second.all() else 'raise'} {key}, or give more images"
        )
    return images.take(torch.from_numpy(np.flatnonzero(~second))), images.take(torch.from_numpy(np.flatnonzero(second)))


def balanced_indices(labels: Sequence[int] | np.ndarray[Any, Any], limit: int) -> np.ndarray[Any, Any]:
    """Sorted indices of `limit` items whose classes differ in number by at most one, where each class has enough."""
    rng = np.random.default_rng(SPLIT_SEED)
    labels = np.asarray(labels)
    # the k-th item of every class comes before the (k+1)-th of any: taking the first ones is balanced
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        rank[of_class] = np.arange(len(of_class))
    return np.sort(np.lexsort((labels, rank))[:limit])
