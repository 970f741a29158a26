"""Bands around a spectrum: expected errors times factors that held-out simulations give (conformal prediction)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

LEVEL = 0.9
SIGNALS = (1.0, 2.0, 3.0, 4.0, 5.0)  # log10 of the largest singular value, between which simulations are calibrated
BINS = (2, len(SIGNALS) + 1)


class Factors(NamedTuple):
    """Factors of the expected errors of the spectrum's values, and of the positions and weights of its peaks."""

    values: float
    positions: float
    weights: float


@dataclass(frozen=True)
class BandFactors:
    """Factors of expected errors, by the data's quality.

    values, positions, weights: as in `Factors`, each [2, len(SIGNALS) + 1], of fermions and bosons, from noisy to
    precise data.
    """

    values: Tensor
    positions: Tensor
    weights: Tensor

    def of(self, largest_singular: float, *, is_even: bool) -> Factors:
        """Return the factors for data whose whitened kernel has this largest singular value."""
        place = int(is_even), int(quality_of(torch.tensor(largest_singular)))
        return Factors(float(self.values[place]), float(self.positions[place]), float(self.weights[place]))


def quality_of(largest_singular: Tensor) -> Tensor:
    """Return the bin of quality of each largest singular value."""
    return torch.bucketize(largest_singular.double().log10(), torch.tensor(SIGNALS, dtype=torch.float64))
