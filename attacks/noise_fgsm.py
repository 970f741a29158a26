"""N-FGSM (de Jorge et al. 2022): one step from strong noise, for training alone, as it leaves the ball."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, eq=False, kw_only=True)
class NFGSM:
    """One step of `alpha` along the gradient's sign at images under uniform noise in [-noise, noise].

    images [N, C, H, W] in [0, 1], labels int64 [N] -> images in [0, 1], each pixel within noise + alpha of its own: the
    result is not brought back into a ball, which is what keeps single steps from overfitting catastrophically. The
    noise is drawn from torch's global generator. Without noise it is FGSM.
    """

    model: nn.Module
    alpha: float
    noise: float

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the attacked images."""
        noisy = (images + torch.empty_like(images).uniform_(-self.noise, self.noise)).clamp(0, 1).requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(self.model(noisy), labels), noisy)
        return (noisy.detach() + self.alpha * slope.sign()).clamp(0, 1)
