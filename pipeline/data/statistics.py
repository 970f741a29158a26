"""Mean and standard deviation of the pixels of a set: the same bits however its images are kept."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor

from pipeline.data.images import Images, ImageSet, parts
from pipeline.runs.progress import progress_bar

BYTE_VALUES = 256  # of a byte
MOST_COUNTED = 50_000  # images, as many as train on CIFAR-10: the mean of a sample is then off by 0.45 % of a deviation
COUNTED_AT_ONCE = 256  # images
SAMPLE_SEED = 0  # the sample is part of a data set, not of a run
SMALLEST_DEVIATION = 1e-3  # of a channel that is the same everywhere


def mean_and_deviation(images: ImageSet) -> tuple[list[float], list[float]]:
    """Measure each channel, in [0, 1]: over all images or, of more than MOST_COUNTED, over a sample of so many."""
    moments = [_moments(counts) for counts in _level_counts(images, _counted(len(images))).tolist()]
    return [mean for mean, _ in moments], [max(deviation, SMALLEST_DEVIATION) for _, deviation in moments]


def _counted(number: int) -> Tensor:
    """Choose the images to count: int64, rising, so that those on a disk are read in their order."""
    if number <= MOST_COUNTED:
        return torch.arange(number)
    generator = torch.Generator().manual_seed(SAMPLE_SEED)
    return torch.randperm(number, generator=generator)[:MOST_COUNTED].sort().values


def _level_counts(images: ImageSet, chosen: Tensor) -> Tensor:
    """How many pixels have each value: int64 [C, LEVELS]."""
    counts = torch.zeros(images.shape[0], BYTE_VALUES, dtype=torch.int64)
    # the first process speaks for all; counting what is in memory takes no time to speak of
    show = not isinstance(images, Images) and os.environ.get("LOCAL_RANK", "0") == "0"
    with progress_bar("statistics", len(chosen), show=show) as bar:
        for pixels in images.pixels(parts(chosen, COUNTED_AT_ONCE)):
            for channel, values in enumerate(pixels.cpu().unbind(1)):
                counts[channel] += torch.bincount(values.flatten(), minlength=BYTE_VALUES)
            bar.advance("", by=len(pixels))
    return counts


def _moments(counts: list[int]) -> tuple[float, float]:
    """Return the mean and standard deviation, in [0, 1], from exact sums."""
    number = sum(counts)
    first = sum(value * count for value, count in enumerate(counts))
    second = sum(value * value * count for value, count in enumerate(counts))
    return first / number / 255, math.sqrt(number * second - first * first) / number / 255
