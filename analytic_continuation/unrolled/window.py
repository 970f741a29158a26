"""The dimensionless window, in which one network serves any beta, window and norm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from analytic_continuation.grids import weights
from analytic_continuation.kernels import Kernel

NODES = 160  # of the dimensionless window -1 .. 1
STEP = 2 / (NODES - 1)
FINER = 8  # steps of the quadrature to one between nodes: a kernel's poles come as near as pi / beta


@dataclass(frozen=True)
class Window:
    """Map frequencies to u in -1 .. 1: w = centre + half u. Spectra of bosons are continued evenly to w < 0."""

    centre: float
    half: float
    is_even: bool

    @classmethod
    def around(cls, omega: NDArray[np.float64], kernel: Kernel) -> Window:
        """Return the window of a grid: from its first to its last frequency, or its mirror image for bosons."""
        if kernel.is_bosonic:
            return cls(0.0, float(omega[-1]), True)
        return cls(float(omega[0] + omega[-1]) / 2, float(omega[-1] - omega[0]) / 2, False)

    def frequencies(self, nodes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the frequencies at which a kernel is taken, those of w < 0 mirrored for bosons."""
        omega = self.centre + self.half * nodes
        return np.abs(omega) if self.is_even else omega

    def spectra(
        self, densities: NDArray[np.float64], omega: NDArray[np.float64], norms: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return A(w) on a grid from densities at the nodes, by monotone interpolation, which adds no peak, [B, m].

        densities: [B, NODES], of integral 1 over u.  norms: of A(w), over w >= 0 for bosons, [B].
        """
        scales = norms / self.half * (2 if self.is_even else 1)
        found = PchipInterpolator(nodes(), densities, axis=1)((omega - self.centre) / self.half)
        return np.asarray(scales[:, None] * np.maximum(found, 0), dtype=np.float64)


@cache
def nodes() -> NDArray[np.float64]:
    """Return the nodes of the dimensionless window, [NODES]."""
    return np.linspace(-1, 1, NODES)


@cache
def fine_nodes() -> NDArray[np.float64]:
    """Return the points at which kernels are integrated."""
    return np.linspace(-1, 1, FINER * (NODES - 1) + 1)


@cache
def quadrature() -> NDArray[np.float64]:
    """Return the integral over fine nodes of a function by its cubic spline through the nodes, [fine, NODES]."""
    spline = CubicSpline(nodes(), np.eye(NODES))(fine_nodes())
    return np.asarray(weights(fine_nodes())[:, None] * spline, dtype=np.float64)


def norm_row(kernel: NDArray[np.float64] | NDArray[np.complex128], smallest_error: float) -> NDArray[np.float64]:
    """Return the row of the norm in a whitened kernel, [NODES]: as precise as the largest datum of a flat spectrum.

    kernel: at the fine nodes, [n, fine].
    """
    return largest_of_flat(kernel) / smallest_error * weights(nodes())


def largest_of_flat(kernel: NDArray[np.float64] | NDArray[np.complex128]) -> float:
    """Return the modulus of the largest datum that a flat spectrum of integral 1 has. kernel: [n, fine]."""
    return float(np.abs(kernel @ weights(fine_nodes())).max()) / 2
