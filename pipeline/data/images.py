"""Sets of images, kept in memory or not, and their batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import Self

import torch
from torch import Tensor

NOWHERE = -1  # of a pixel that augmentation brought in: padding or cutout


class ImageSet(ABC):
    """Images of one shape with their labels, int64 [N]."""

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """[C, H, W] of each image."""

    @abstractmethod
    def take(self, indices: Tensor) -> Self:
        """Return the images at `indices`, in that order."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """Move the images to a device."""

    @abstractmethod
    def kept(self) -> Images:
        """Keep the images in memory, for sets that are small."""

    @abstractmethod
    def pixels(self, chosen: Iterable[Tensor]) -> Iterator[Tensor]:
        """The images at each batch of indices: uint8 [n, C, H, W]. `chosen` may be drawn from ahead of what is given.

        Nothing is drawn from torch's global generators, and of images that are not chosen nothing is read.
        """

    def read(self, chosen: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Each batch of indices with its images, float in [0, 1], and labels."""
        drawn, given = tee(chosen)
        for pixels, indices in zip(self.pixels(drawn), given, strict=False):
            yield indices, as_float(pixels), self.labels[indices].to(pixels.device)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images in order, float in [0, 1], `size` at once."""
        for _, images, labels in self.read(parts(torch.arange(len(self)), size)):
            yield images, labels

    def shared_batches(self, size: int, share: tuple[int, int]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield one process's batches of all images in order, `size` at once: number of the batch, images and labels.

        share: (rank, processes). Shares are whole batches, in turn: each is what it would be in one process, and each
        image is in one share. What is drawn for a batch must follow from its number alone.
        """
        numbered = list(enumerate(parts(torch.arange(len(self)), size)))[share[0] :: share[1]]
        read = self.read(indices for _, indices in numbered)
        for (number, _), (_, images, labels) in zip(numbered, read, strict=True):
            yield number, images, labels

    def shuffled_batches(
        self, size: int, seed: int, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch in an order drawn from `seed`, without the incomplete last batch; float in [0, 1].

        share: (rank, processes); each process gets every processes-th image of each batch of `size`.
        """
        for _, images, labels in self.read(self.shuffled_indices(size, seed, share)):
            yield images, labels

    def shuffled_indices(self, size: int, seed: int, share: tuple[int, int] = (0, 1)) -> Iterator[Tensor]:
        """Yield which images each of these batches holds: int64 [size / processes]."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).to(self.labels.device)
        rank, processes = share
        for first in range(0, len(self) - size + 1, size):
            yield order[first : first + size][rank::processes]


@dataclass(frozen=True)
class Images(ImageSet):
    """In memory, or in that of a device.  images: uint8 [N, C, H, W], or float in [0, 1].  labels: int64 [N]."""

    images: Tensor
    labels: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """[C, H, W] of each image."""
        return tuple(self.images.shape[1:])

    def take(self, indices: Tensor) -> Images:
        """Return the images at `indices`, in that order."""
        return Images(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> Images:
        """Move the images to a device."""
        return Images(self.images.to(device), self.labels.to(device))

    def kept(self) -> Images:
        """These images."""
        return self

    def pixels(self, chosen: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the images at each batch of indices: uint8 [n, C, H, W]."""
        return (self.images[indices] for indices in chosen)


@dataclass(frozen=True)
class Origin:
    """Where the images of a batch come from.

    indices: int64 [N], in a part of the training set.  source: int64 [N, H * W], as `Augmentation.traced` gives it.
    """

    part: str
    indices: Tensor
    source: Tensor


@dataclass(frozen=True)
class Batch:
    """images: float [N, C, H, W] in [0, 1].  labels: int64 [N].  origin: where it is kept, that of the images."""

    images: Tensor
    labels: Tensor
    origin: Origin | None = None


def as_float(images: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1]; what is float already is taken as it is."""
    return images if images.is_floating_point() else images.float().div_(255)


def parts(indices: Tensor, size: int) -> Iterator[Tensor]:
    """Yield the indices in their order, `size` at once, the last ones fewer where they are."""
    return (indices[first : first + size] for first in range(0, len(indices), size))
