"""Bands around a spectrum: the expected error times a factor that held-out simulations give (conformal prediction)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEVEL = 0.9
SIGNALS = (1.0, 2.0, 3.0, 4.0, 5.0)  # log10 of the largest singular value, between which simulations are calibrated


@dataclass(frozen=True)
class BandFactors:
    """Factors of the expected error, by the data's quality.

    factors: [2, len(SIGNALS) + 1], of fermions and bosons, from noisy to precise data.
    """

    factors: Tensor

    def of(self, largest_singular: float, *, is_even: bool) -> float:
        """Return the factor for data whose whitened kernel has this largest singular value."""
        return float(self.factors[int(is_even), quality_of(torch.tensor(largest_singular))])


def quality_of(largest_singular: Tensor) -> Tensor:
    """Return the bin of quality of each largest singular value."""
    return torch.bucketize(largest_singular.double().log10(), torch.tensor(SIGNALS, dtype=torch.float64))
