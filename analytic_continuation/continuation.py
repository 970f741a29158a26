"""Analytic continuation: from a Green's function to its spectrum, by any of the methods."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytic_continuation.greens_function import GreensFunction
from analytic_continuation.grids import checked_grid, weights
from analytic_continuation.maximum_entropy.alpha import maximum_entropy
from analytic_continuation.names import ALPHA_RULES, METHODS
from analytic_continuation.norm import estimated_norm
from analytic_continuation.spectrum import Spectrum, described
from analytic_continuation.whitening import whitened

NORM_ERROR = 1e-4  # of a known norm, as a part of it: about what quadrature on a grid leaves


def continue_spectrum(
    green: GreensFunction,
    omega: ArrayLike,
    method: str = "learned",
    *,
    norm: float | None = None,
    alpha_rule: str = "chi2kink",
) -> Spectrum:
    """Return the spectral function of a Green's function on a grid of real frequencies.

    green: data with errors.  omega: grid that rises, [m]; it should hold the whole spectrum.  method: of `METHODS`.
    norm: integral of the spectrum, 1 for a Green's function of one orbital; None for what the data say.
    alpha_rule: of `ALPHA_RULES`, how "maxent" chooses alpha; "maxent_neural" always takes chi^2 = number of data.
    Raises ValueError in one line where method, grid and data do not fit.

        >>> frequencies = np.pi / 10 * (2 * np.arange(16) + 1)
        >>> values = 1 / (1j * frequencies - 1)  # a pole at w = 1
        >>> green = GreensFunction(frequencies, values, np.full(16, 1e-3), "fermionic_matsubara", beta=10)
        >>> spectrum = continue_spectrum(green, np.linspace(-4, 4, 81), "maxent", norm=1.0)
        >>> float(spectrum.omega[spectrum.values.argmax()])
        1.0
    """
    if method not in METHODS:
        raise ValueError(f"expected a method out of {', '.join(METHODS)}, found {str(method)[:50]!r}")
    if alpha_rule not in ALPHA_RULES:
        raise ValueError(f"expected a rule for alpha out of {', '.join(ALPHA_RULES)}, found {str(alpha_rule)[:50]!r}")
    if norm is not None and not (np.isfinite(norm) and norm > 0):
        raise ValueError(f"norm: expected a positive number, found {norm}")
    grid = checked_grid(omega, bosonic=green.kernel.is_bosonic)
    if method != "maxent":
        raise ValueError(f"{method}: no trained model is shipped yet")
    return _flat_maxent(green, grid, norm, alpha_rule)


def _flat_maxent(green: GreensFunction, omega: NDArray[np.float64], norm: float | None, alpha_rule: str) -> Spectrum:
    total = estimated_norm(green, float(omega[0]), float(omega[-1])) if norm is None else norm
    problem = whitened(green, omega, norm=norm, norm_error=NORM_ERROR * total)
    default = weights(omega) * total / (omega[-1] - omega[0])
    found = maximum_entropy(problem, default, alpha_rule)
    details = {
        "alpha": found.alpha,
        "alpha_rule": alpha_rule,
        "entropy": found.entropy,
        "good_data": found.good,
        "default": "flat",
        "kernel_condition": problem.condition,
    }
    return described(green, omega, found.cells / weights(omega), method="maxent", details=details)
