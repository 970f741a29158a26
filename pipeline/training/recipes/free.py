"""Free adversarial training: one backward pass for the weights and for the attack (Shafahi et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class FreePerturbation:
    """The perturbation of a batch, which goes on from replay to replay and from one batch to the next.

    value: [N, C, H, W], |value| <= eps; it starts at 0.
    """

    def __init__(self, shape: Sequence[int], eps: float, device: torch.device) -> None:
        self._eps = eps
        self.value = torch.zeros(*shape, device=device, requires_grad=True)

    def on(self, images: Tensor) -> Tensor:
        """The perturbed images in [0, 1]; their gradient reaches `value`."""
        return (images + self.value).clamp(0, 1)

    @torch.no_grad()
    def ascend(self, slope: Tensor) -> None:
        """A step of eps along the sign of the loss's gradient in `value`, back into the ball."""
        self.value.add_(self._eps * slope.sign()).clamp_(-self._eps, self._eps)

    @torch.no_grad()
    def restore(self, value: Tensor) -> None:
        """Go back to a value."""
        self.value.copy_(value)
