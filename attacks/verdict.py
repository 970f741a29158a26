"""Whether an image is an adversarial example: inside the ball, and called wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.spec import Norm

ROUNDING = 1e-6  # by which an image may lie outside the ball
SURE = 1e-5  # of the largest logit: by less, a pass in a batch of other images may decide otherwise


def inside_ball(attacked: Tensor, images: Tensor, eps: float, norm: Norm, rounding: float = ROUNDING) -> Tensor:
    """Return which attacked images [N, C, H, W] lie in [0, 1] and within eps of the images, bool [N].

    >>> image = torch.full((1, 1, 2, 2), 0.5)
    >>> inside_ball(image + 0.1, image, 0.1, "Linf"), inside_ball(image + 0.1, image, 0.1, "L2")
    (tensor([True]), tensor([False]))
    """
    moved, pixels = (attacked - images).flatten(1), attacked.flatten(1)
    distance: Tensor = moved.abs().amax(dim=1) if norm == "Linf" else torch.linalg.vector_norm(moved, dim=1)
    return (distance <= eps + rounding) & ((pixels >= 0) & (pixels <= 1)).all(dim=1)


def error_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how far the best other class is above the label's, relative to the largest logit: [N], in [-2, 2].

    logits: [N, classes].  labels: int64 [N].

    >>> error_margin(torch.tensor([[1.0, 4.0], [4.0, 1.0]]), torch.tensor([0, 0]))
    tensor([ 0.7500, -0.7500])
    """
    of_label = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return (others - of_label) / logits.abs().amax(dim=1).clamp(min=torch.finfo(logits.dtype).tiny)
