"""Common corruptions of images, at five severities: what is not an attack and still makes networks err.

The corruptions and their strengths are those of CIFAR-10-C (Hendrycks & Dietterich 2019), made for 32x32 images; on
smaller ones, such as the digits, a blur or a block of JPEG weighs more. Pixels stay float, where CIFAR-10-C
stores bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SEVERITIES = (1, 2, 3, 4, 5)
_BLUR_REACH = 4  # standard deviations to each side, as scikit-image's gaussian, which CIFAR-10-C uses


@dataclass(frozen=True)
class Corruption:
    """A corruption and its strength at each severity.

    strength: the name of its parameter.  apply: images [N, C, H, W] in [0, 1], strength, generator -> images.
    """

    strength: str
    levels: tuple[float, float, float, float, float]
    apply: Callable[[Tensor, float, torch.Generator], Tensor]

    def __call__(self, images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
        """The corrupted images, in [0, 1]; severity is 1 to 5, and noise is drawn from the generator, on the CPU."""
        return self.apply(images, self.levels[severity - 1], generator).clamp(0, 1)


def _gaussian_noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    return images + deviation * torch.randn(images.shape, generator=generator).to(images)


def _shot_noise(images: Tensor, photons: float, generator: torch.Generator) -> Tensor:
    return (torch.poisson(images.cpu() * photons, generator) / photons).to(images)


def _gaussian_blur(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    from kornia.filters import gaussian_blur2d  # here: a second of import

    size = 2 * int(_BLUR_REACH * deviation + 0.5) + 1
    blurred: Tensor = gaussian_blur2d(images, (size, size), (deviation, deviation), border_type="replicate")
    return blurred


def _brightness(images: Tensor, more: float, generator: torch.Generator) -> Tensor:
    """Value of HSV, hue and saturation kept: the largest channel grows by `more`, the others in proportion."""
    value = images.amax(dim=1, keepdim=True)
    brighter = (value + more).clamp(max=1)
    return torch.where(value > 0, images * (brighter / value.clamp(min=1e-12)), brighter)


def _contrast(images: Tensor, part: float, generator: torch.Generator) -> Tensor:
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + part * (images - mean)


def _jpeg(images: Tensor, quality: float, generator: torch.Generator) -> Tensor:
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.stack([_through_jpeg(image, int(quality)) for image in pixels])
    return torch.from_numpy(decoded).to(images).div(255).reshape(len(images), *images.shape[2:], -1).permute(0, 3, 1, 2)


def _through_jpeg(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], quality: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """uint8 [H, W, 1 or 3], encoded and decoded."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "gaussian_noise": Corruption("deviation", (0.04, 0.06, 0.08, 0.09, 0.10), _gaussian_noise),
        "shot_noise": Corruption("photons", (500, 250, 100, 75, 50), _shot_noise),
        "gaussian_blur": Corruption("deviation", (0.4, 0.6, 0.7, 0.8, 1.0), _gaussian_blur),
        "brightness": Corruption("more", (0.05, 0.1, 0.15, 0.2, 0.3), _brightness),
        "contrast": Corruption("part", (0.75, 0.5, 0.4, 0.3, 0.15), _contrast),
        "jpeg": Corruption("quality", (80, 65, 58, 50, 40), _jpeg),
    }
)
