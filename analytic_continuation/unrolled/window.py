"""The dimensionless problem that one network solves for any beta, window and norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from analytic_continuation.greens_function import GreensFunction, as_real
from analytic_continuation.grids import weights
from analytic_continuation.kernels import Kernel
from analytic_continuation.whitening import WhitenedProblem, Whitening, decomposed

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

    def spectrum(self, density: NDArray[np.float64], omega: NDArray[np.float64], norm: float) -> NDArray[np.float64]:
        """Return A(w) on a grid from the density at the nodes, by monotone interpolation, which adds no peak.

        density: [NODES], of integral 1 over u.  norm: of A(w), over w >= 0 for bosons.
        """
        scale = norm / self.half * (2 if self.is_even else 1)
        found = PchipInterpolator(nodes(), density)((omega - self.centre) / self.half)
        return np.asarray(scale * np.maximum(found, 0), dtype=np.float64)


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


def dimensionless(
    greens: Sequence[GreensFunction], window: Window, norms: NDArray[np.float64], *, is_known: bool
) -> WhitenedProblem:
    """Whiten and decompose problems of densities over u, in units in which singular values know no grid.

    greens: B of them, with the same points, errors, kernel and beta.  norms: integrals of their spectra, [B].
    is_known: each norm is one more datum, as precise as the data, at Matsubara frequencies of fermions.
    Returns the problem of spectra of norm 1, with data [r, B]; singular values grow with the norm.
    """
    first = greens[0]
    kernel = first.kernel.matrix(first.points, window.frequencies(fine_nodes()), first.beta)
    whiten = Whitening(first)
    rows = whiten(as_real(kernel) @ quadrature())
    values = np.stack([whiten(green.real_values) for green in greens], axis=1)
    if is_known and first.kernel is Kernel.FERMIONIC_MATSUBARA:  # other data hold the norm themselves
        row = norm_row(kernel, float(first.errors.min()))
        rows, values = np.concatenate([rows, row[None]]), np.concatenate([values, norms[None] * row.sum() / 2])
    return decomposed(rows / np.sqrt(STEP), values)


def norm_row(kernel: NDArray[np.float64] | NDArray[np.complex128], smallest_error: float) -> NDArray[np.float64]:
    """Return the row of the norm in a whitened kernel, [NODES]: as precise as the largest datum of a flat spectrum.

    kernel: at the fine nodes, [n, fine].
    """
    largest = float(np.abs(kernel @ weights(fine_nodes())).max()) / 2
    return largest / smallest_error * weights(nodes())
