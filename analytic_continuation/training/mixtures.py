"""Random spectra: mixtures of Gaussians, and of nothing else, so that other shapes are unseen ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytic_continuation.grids import weights
from analytic_continuation.unrolled.window import fine_nodes

MOST_PEAKS = 6
COMB = (6, 30)  # Gaussians side by side, as a smooth shape with edges
NARROWEST, WIDEST = -2.05, -0.45  # log10 of a width, in half windows
SHARES = (0.5, 0.3, 0.2)  # of peaks, combs, and peaks and holes in a broad background


@dataclass(frozen=True)
class Gaussians:
    """A mixture. centres, widths, weights: [k]; weights may be negative where the sum is not."""

    centres: NDArray[np.float64]
    widths: NDArray[np.float64]
    weights: NDArray[np.float64]

    def density(self) -> NDArray[np.float64]:
        """Return the mixture at the fine nodes, in single precision: data are computed from it as it is."""
        distance = (fine_nodes().astype(np.float32)[:, None] - self.centres.astype(np.float32)) / self.widths
        scaled = self.weights / (self.widths * np.sqrt(2 * np.pi))
        return np.asarray(np.exp(-0.5 * distance.astype(np.float32) ** 2) @ scaled, dtype=np.float64)


def random_density(generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw a density over u at the fine nodes: not negative, of integral 1."""
    draw = generator.choice(3, p=SHARES)
    density = (_peaks, _combs, _background)[draw](generator)
    return density / float(weights(fine_nodes()) @ density)


def _peaks(generator: np.random.Generator) -> NDArray[np.float64]:
    count = generator.integers(1, MOST_PEAKS + 1)
    return Gaussians(
        generator.uniform(-1, 1, count) * generator.uniform(0.1, 0.85),
        10 ** generator.uniform(NARROWEST, WIDEST, count),
        generator.dirichlet(np.full(count, 1.5)),
    ).density()


def _combs(generator: np.random.Generator) -> NDArray[np.float64]:
    count = generator.integers(*COMB)
    half = generator.uniform(0.06, 0.75)
    centre = generator.uniform(-1, 1) * (0.85 - half) if half < 0.85 else 0.0
    heights = np.exp(np.cumsum(generator.normal(0, generator.uniform(0, 0.6), count)))
    if generator.random() < 0.4:  # a gap
        first = generator.integers(1, count - 2)
        heights[first : first + generator.integers(1, count - first)] *= generator.choice([0.0, 0.1])
    widths = np.full(count, 2 * half / (count - 1) * generator.uniform(0.4, 0.9))
    comb = Gaussians(centre + half * np.linspace(-1, 1, count), np.maximum(widths, 10**NARROWEST), heights).density()
    if generator.random() < 0.4:
        comb = comb / comb.max() + generator.uniform(0.2, 2) * (peaks := _peaks(generator)) / peaks.max()
    return comb


def _background(generator: np.random.Generator) -> NDArray[np.float64]:
    """A broad peak, with peaks and holes as deep as the density allows."""
    broad = Gaussians(generator.uniform(-0.2, 0.2, 1), generator.uniform(0.25, 0.5, 1), np.ones(1)).density()
    count = generator.integers(2, MOST_PEAKS + 1)
    signed = generator.normal(size=count)
    if generator.random() < 0.5:
        signed -= signed.mean()
    part = Gaussians(
        generator.uniform(-0.6, 0.6, count), 10 ** generator.uniform(NARROWEST + 0.4, WIDEST - 0.1, count), signed
    ).density()
    deepest = float(np.max(-part / broad))
    return np.maximum(broad + part * generator.uniform(0.3, 1) / max(deepest, 0.1), 0)
