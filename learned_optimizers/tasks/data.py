"""What tasks learn from: the digits of scikit-learn, Gaussian clusters, and all sequences of a length."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 8  # of the images, in pixels
DIGIT_CLASSES = 10
ORDER_SEED = 0  # one order of the digits for all tasks: an image that judges theta has trained it in no task


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Return images [1797, 64] in [0, 1] and labels [1797], shuffled."""
    from sklearn.datasets import load_digits  # takes a second, which not every user of this package needs to wait

    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(ORDER_SEED))
    return torch.from_numpy(found.data).float()[order] / 16, torch.from_numpy(found.target)[order]


def clusters(
    points: int, dimensions: int, classes: int, modes: int, spread: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Gaussian clusters: points [N, dimensions] and labels [N]; a class has several, whose centres are N(0, I).

    spread: standard deviation of a cluster.
    """
    centres = torch.randn(classes * modes, dimensions, generator=generator)
    chosen = torch.randint(classes * modes, (points,), generator=generator)
    noise = torch.randn(points, dimensions, generator=generator)
    return centres[chosen] + spread * noise, chosen % classes


def smooth_images(points: Tensor) -> Tensor:
    """Points [N, 64] as images [N, 64] whose neighbouring pixels are alike: means over 3x3, of about the same size."""
    images = F.avg_pool2d(points.view(-1, 1, SIDE, SIDE), 3, stride=1, padding=1, count_include_pad=False)
    return 3 * images.flatten(1)


def all_sequences(symbols: int, length: int, generator: torch.Generator) -> Tensor:
    """Every sequence of `length` symbols, in a random order: int64 [symbols^length, length]."""
    numbers = torch.randperm(symbols**length, generator=generator).unsqueeze(1)
    return numbers // symbols ** torch.arange(length) % symbols
