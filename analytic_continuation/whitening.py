"""Data and kernel in units of the error bars, through one singular value decomposition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from analytic_continuation.greens_function import GreensFunction, as_real
from analytic_continuation.grids import weights
from analytic_continuation.kernels import Kernel

SMALLEST_SINGULAR = 1e-15  # of the largest one: smaller ones are rounding in double precision


@dataclass(frozen=True, eq=False)
class WhitenedProblem:
    """The data's kernel and values, whitened and decomposed: chi^2 = sum (s v^T a - data)^2 + outside.

    Here a [m] are the integrals of the spectrum over the grid's cells, A(w) times the weight of w.
    singular: s, [r], falling.  right: v^T, [r, m].  data: u^T values, [r], or [r, B] of several.
    outside: what no spectrum on the grid can fit, summed in squares.  count: real numbers in the data.
    condition: the whitened kernel's largest over its smallest singular value, before any is left out.
    """

    singular: NDArray[np.float64]
    right: NDArray[np.float64]
    data: NDArray[np.float64]
    outside: float | NDArray[np.float64]
    count: int
    condition: float

    def chi_squared(self, cells: NDArray[np.float64]) -> float:
        """Return chi^2 of the integrals over cells, [m]."""
        return float(np.sum((self.singular * (self.right @ cells) - self.data) ** 2) + self.outside)


class Whitening:
    """Divide by the Cholesky factor of the errors' covariance, so that all errors become independent and 1.

    Real and imaginary parts are stacked, the real ones first.
    """

    def __init__(self, green: GreensFunction) -> None:
        self._parts = 2 if green.kernel is Kernel.FERMIONIC_MATSUBARA else 1
        self._errors = np.tile(green.errors, self._parts)
        self._factor = None if green.covariance is None else cholesky(green.covariance, lower=True)

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Whiten real rows, [2 n] or [2 n, m] of complex data, [n] or [n, m] of real ones."""
        if self._factor is None:
            return rows / (self._errors if rows.ndim == 1 else self._errors[:, None])
        if len(self._factor) == len(rows):
            return np.asarray(solve_triangular(self._factor, rows, lower=True))
        return np.concatenate([solve_triangular(self._factor, part, lower=True) for part in np.split(rows, 2)])


def whitened(
    green: GreensFunction, omega: NDArray[np.float64], *, norm: float | None = None, norm_error: float = 0.0
) -> WhitenedProblem:
    """Whiten and decompose the problem of a Green's function on a grid [m].

    norm: the known integral of the spectrum, one more datum with the standard deviation `norm_error`; None if unknown.

        >>> frequencies = np.pi / 10 * (2 * np.arange(8) + 1)
        >>> green = GreensFunction(frequencies, 1 / (1j * frequencies), np.full(8, 1e-3), "fermionic_matsubara", 10)
        >>> problem = whitened(green, np.linspace(-1, 1, 41))
        >>> pole = np.eye(41)[20]  # all of the spectrum at w = 0
        >>> problem.count, bool(problem.chi_squared(pole) < 1e-12)
        (16, True)
    """
    whiten = Whitening(green)
    kernel = whiten(as_real(green.kernel.matrix(green.points, omega, green.beta)))
    values = whiten(green.real_values)
    if norm is not None:
        kernel = np.concatenate([kernel, np.full((1, len(omega)), 1 / norm_error)])
        values = np.append(values, norm / norm_error)
    return decomposed(kernel, values)


def decomposed(kernel: NDArray[np.float64], values: NDArray[np.float64]) -> WhitenedProblem:
    """Decompose a whitened kernel [n, m] with its values [n], or [n, B]."""
    left, singular, right = np.linalg.svd(kernel, full_matrices=False)
    kept = singular > singular[0] * SMALLEST_SINGULAR
    data = left[:, kept].T @ values
    condition = singular[0] / max(singular[-1], np.finfo(np.float64).tiny)
    return WhitenedProblem(
        singular=singular[kept],
        right=right[kept],
        data=data,
        outside=np.sum((values - left[:, kept] @ data) ** 2, axis=0),
        count=len(values),
        condition=float(condition),
    )


def cells_of(values: NDArray[np.float64], omega: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the integrals over the grid's cells of a spectrum [m]."""
    return values * weights(omega)
