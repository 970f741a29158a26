"""Data of one geometry, so that a fully connected network can read them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from analytic_continuation import Kernel
from analytic_continuation.training.batches import Batch, Geometry, simulated
from analytic_continuation.training.mixtures import random_density
from analytic_continuation.unrolled.window import Window

BETA, POINTS = 80.0, 32  # beta times half the window: beta = 10, window -8 .. 8
NOISE = (-4.0, -2.0)  # log10 of the standard deviation over the largest value


def geometry() -> Geometry:
    """Return fermionic Matsubara frequencies with equal errors, and a known norm."""
    points = np.pi / BETA * (2 * np.arange(POINTS) + 1)
    return Geometry(Kernel.FERMIONIC_MATSUBARA, BETA, Window(0.0, 1.0, is_even=False), points, np.ones(POINTS), True)


class Pool:
    """Spectra that are drawn once, of which each step sees some with new noise; and batches that judge."""

    JUDGED: ClassVar[int] = 600

    def __init__(self, seed: int, spectra: int) -> None:
        self._seed = seed
        self._densities = _drawn((seed, 0), spectra)
        generator = np.random.default_rng((seed, 1))
        parts = np.split(_drawn((seed, 2), self.JUDGED), self.JUDGED // 100)
        self.judging = [_with_noise(part, generator) for part in parts]

    def batch(self, step: int, size: int) -> Batch:
        """Return the batch of a step; the same for the same step."""
        generator = np.random.default_rng((self._seed, 3, step))
        return _with_noise(self._densities[generator.integers(0, len(self._densities), size)], generator)


def _drawn(seed: tuple[int, int], count: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    return np.stack([random_density(generator) for _ in range(count)])


def _with_noise(densities: NDArray[np.float64], generator: np.random.Generator) -> Batch:
    return simulated(geometry(), densities, 10 ** generator.uniform(*NOISE, len(densities)), generator)
