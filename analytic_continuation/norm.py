"""The integral of a spectrum, as the data alone give it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from analytic_continuation.greens_function import GreensFunction
from analytic_continuation.whitening import whitened

FREQUENCIES = 120  # of the window, for the fit
WORST_FIT = 0.3  # of the chi^2 that no spectrum at all has


def estimated_norm(green: GreensFunction, minimum: float, maximum: float) -> float:
    """Return the integral of the non-negative spectrum in a window that fits the data best.

    Raises ValueError where it fits hardly better than 0, as for data of the other sign.

        >>> frequencies = np.pi / 10 * (2 * np.arange(8) + 1)
        >>> green = GreensFunction(frequencies, 2 / (1j * frequencies), np.full(8, 1e-3), "fermionic_matsubara", 10)
        >>> round(estimated_norm(green, -4, 4), 3)
        2.0
    """
    grid: NDArray[np.float64] = np.linspace(minimum, maximum, FREQUENCIES + 1)
    problem = whitened(green, grid)
    cells, _ = nnls(problem.singular[:, None] * problem.right, problem.data)
    norm = float(cells.sum())
    if norm <= 0 or problem.chi_squared(cells) > WORST_FIT * problem.chi_squared(np.zeros_like(cells)):
        raise ValueError("values: no spectrum above 0 in this window fits them; check their sign, or the window")
    return norm
