"""The spectra that are simulated, by the name of a training distribution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from analytic_continuation.grids import weights
from analytic_continuation.training.mixtures import NARROWEST, random_density
from analytic_continuation.unrolled.window import fine_nodes

GAUSSIANS, WIDE = "gaussians", "wide"
GAUSSIAN_SHARE = 0.5  # of the wide distribution
MOST_PEAKS = 5
WIDEST = -0.6  # log10 of a width, in half windows
ONE_SHAPE = 0.6  # of the others: all peaks have the same shape

Array = NDArray[np.float64]

_PEAKS: tuple[Callable[[Array], Array], ...] = (
    lambda x: np.exp(-0.5 * x**2),
    lambda x: 1 / (1 + x**2),
    lambda x: (np.abs(x) <= 1).astype(np.float64),
    lambda x: np.sqrt(np.maximum(0, 1 - x**2)),
    lambda x: np.exp(-np.abs(x)),
)
"""Gaussian, Lorentzian, box, semicircle and exponential, of width 1."""


def random_wide_density(generator: np.random.Generator) -> Array:
    """Draw a density over u at the fine nodes, of a mixture of Gaussians or of other peaks: of integral 1."""
    if generator.random() < GAUSSIAN_SHARE:
        return random_density(generator)
    count = int(generator.integers(1, MOST_PEAKS + 1))
    shapes = generator.integers(0, len(_PEAKS), count)
    if generator.random() < ONE_SHAPE:
        shapes[:] = shapes[0]
    centres = generator.uniform(-1, 1, count) * generator.uniform(0.1, 0.75)
    widths = 10 ** generator.uniform(NARROWEST + 0.3, WIDEST, count)
    parts = generator.dirichlet(np.full(count, 1.5)) / widths
    density = np.zeros(len(fine_nodes()))
    for shape, centre, width, part in zip(shapes, centres, widths, parts, strict=True):
        density += part * _PEAKS[shape]((fine_nodes() - centre) / width)
    return density / float(weights(fine_nodes()) @ density)


SHAPES: Mapping[str, Callable[[np.random.Generator], Array]] = MappingProxyType(
    {GAUSSIANS: random_density, WIDE: random_wide_density}
)
