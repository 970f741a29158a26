"""Spectra of both signs, as off-diagonal Green's functions have them, by adding a known positive one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytic_continuation.greens_function import GreensFunction
from analytic_continuation.grids import weights
from analytic_continuation.whitening import whitened

WIDTH = 0.35  # of the background, a Gaussian, in half windows
MARGIN = 1.5  # by which it is larger than the rough spectrum is deep
CENTRAL = 0.1  # of its height: farther out, a rough spectrum is mostly noise


@dataclass(frozen=True, eq=False)
class Shifted:
    """Data of a spectrum plus a background, [m], which is larger than the spectrum is negative; and its integral."""

    green: GreensFunction
    background: NDArray[np.float64]
    norm: float


def shifted(green: GreensFunction, omega: NDArray[np.float64]) -> Shifted:
    """Add a broad Gaussian to the spectrum behind data, as much as a rough, linear solution says is needed.

    So methods for spectra that are not negative serve for off-diagonal ones too (Reymbaut et al. 2015 add the diagonal
    ones in the same way). The data keep their errors.
    """
    half = (omega[-1] - omega[0]) * (1 if green.kernel.is_bosonic else 0.5)
    centre = 0.0 if green.kernel.is_bosonic else (omega[-1] + omega[0]) / 2
    shape = np.exp(-0.5 * ((omega - centre) / (WIDTH * half)) ** 2)
    shape /= weights(omega) @ shape
    rough = _rough_spectrum(green, omega)
    central = shape > CENTRAL * shape.max()
    size = MARGIN * max(float(np.max(-rough[central] / shape[central])), float(weights(omega) @ np.abs(rough)) / 2)
    background = size * shape
    added = green.kernel.matrix(green.points, omega, green.beta) @ (background * weights(omega))
    moved = GreensFunction(green.points, green.values + added, green.errors, green.kernel, green.beta, green.covariance)
    return Shifted(moved, background, size)


def _rough_spectrum(green: GreensFunction, omega: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest spectrum, in squares, that fits the data to their errors (Tikhonov 1963).

    Its weight is the largest of a geometric sequence at which chi^2 is the number of data, or the smallest.
    """
    roots = np.sqrt(weights(omega))
    problem = whitened(green, omega)
    left, singular, right = np.linalg.svd((problem.singular[:, None] * problem.right) * roots, full_matrices=False)
    data = left.T @ problem.data
    for weight in singular[0] ** 2 * 10.0 ** -np.arange(0, 14, 0.5):
        filtered = singular / (singular**2 + weight) * data
        if np.sum((singular * filtered - data) ** 2) + problem.outside <= problem.count:
            break
    return np.asarray(right.T @ filtered / roots, dtype=np.float64)
