"""A fully connected network from data of one geometry to a density."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analytic_continuation.unrolled.network import SHARPNESS, normalised
from analytic_continuation.unrolled.problems import FEATURES, Problems
from analytic_continuation.unrolled.window import NODES

LEADING = 24  # singular vectors that are read: the noise here leaves fewer above it


class FullyConnected(nn.Module):
    """Two hidden layers from the data, in the basis of the kernel's singular vectors, to a density of integral 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (LEADING + FEATURES, width, width)
        hidden = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, NODES))

    def forward(self, problems: Problems) -> tuple[Tensor]:
        """Return the densities, [B, NODES], in a tuple as of one stage."""
        squares = problems.singular[:, :LEADING].square()
        seen = problems.coefficients[:, :LEADING] * squares / (1 + squares)  # shrunk where the noise is larger
        found = self.layers(torch.cat([seen, problems.features], dim=1))
        return (normalised(F.softplus(found, beta=SHARPNESS), is_even=False),)
