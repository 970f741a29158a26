"""Augmentation of batches, and where each pixel came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.settings import DataSettings


@dataclass(frozen=True)
class Augmentation:
    """Random crop, mirror and cutout of float images [N, C, H, W] in [0, 1], drawn from torch's global generator.

    pipeline: moves whole pixels and mixes none; None leaves images as they are.
    """

    pipeline: Callable[[Tensor], Tensor] | None

    def __call__(self, images: Tensor) -> Tensor:
        """The augmented images, of the same shape."""
        return images if self.pipeline is None else self.pipeline(images).clamp(0, 1)

    def traced(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Augment in the same way, and say where each pixel [row, column] came from in its own image.

        -> images [N, C, H, W] and int64 [N, H * W]: row * W + column there, NOWHERE for padding and cutout.
        """
        batch, _, height, width = images.shape
        numbers = torch.arange(1, height * width + 1, device=images.device, dtype=torch.float64)  # 0 is padding
        canvas = torch.cat([images.double(), numbers.view(1, 1, height, width).expand(batch, -1, -1, -1)], dim=1)
        moved = canvas if self.pipeline is None else self.pipeline(canvas)
        source = moved[:, -1].flatten(1)
        is_cutout = source != source.round()  # its grey is no pixel's number
        return moved[:, :-1].to(images).clamp(0, 1), torch.where(is_cutout, 0, source).long() - 1


def augmentation(settings: DataSettings, image_size: int) -> Augmentation:
    """Return the augmentation that the settings describe. Raises ValueError when a cutout covers the image."""
    import kornia.augmentation as augment  # here: a second of import that evaluation and export do not need

    if settings.cutout >= image_size:
        raise ValueError(f"data.cutout={settings.cutout} covers images of {image_size} pixels a side")
    steps: list[Any] = []
    if settings.crop_padding:
        steps.append(augment.RandomCrop((image_size, image_size), padding=settings.crop_padding))
    if settings.flip:
        steps.append(augment.RandomHorizontalFlip(p=0.5))
    if settings.cutout:
        part = (settings.cutout / image_size) ** 2
        steps.append(augment.RandomErasing(p=1.0, scale=(part, part), ratio=(1.0, 1.0), value=0.5))
    return Augmentation(augment.AugmentationSequential(*steps) if steps else None)
