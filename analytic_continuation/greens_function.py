"""What was measured: values with their errors at Matsubara frequencies or imaginary times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytic_continuation.kernels import Kernel

FEWEST_POINTS = 4
FREQUENCY_ROUNDING = 1e-2  # of the distance between Matsubara frequencies: text files keep few digits
SYMMETRY_ROUNDING = 1e-8


@dataclass(frozen=True, eq=False, init=False)
class GreensFunction:
    """Hold measured values of a Green's function, self-energy or susceptibility, with their errors.

    points: Matsubara frequencies or imaginary times in 0 .. beta, [n], in any order.
    values: [n], complex for fermionic_matsubara, else real.
    errors: standard deviation of the real and of the imaginary part, [n]; None beside a covariance.
    kernel: a `Kernel` or its name.  beta: inverse temperature.
    covariance: of the errors, [n, n], the same for real and imaginary parts; or [2 n, 2 n] of the real parts followed
    by the imaginary ones.
    Raises ValueError in one line where these do not fit together.

        >>> frequencies = np.pi / 10 * (2 * np.arange(8) + 1)
        >>> green = GreensFunction(frequencies, 1 / (1j * frequencies), np.full(8, 1e-3), "fermionic_matsubara", 10)
        >>> green.values.dtype, len(green.points)
        (dtype('complex128'), 8)
        >>> GreensFunction(frequencies, 1 / (1j * frequencies), np.full(8, 1e-3), "fermionic_matsubara", 11)
        Traceback (most recent call last):
        ValueError: points: 0.314159 is no fermionic Matsubara frequency of beta = 11; expected (2 n + 1) pi / beta
    """

    points: NDArray[np.float64]
    values: NDArray[np.float64] | NDArray[np.complex128]
    errors: NDArray[np.float64]
    kernel: Kernel
    beta: float
    covariance: NDArray[np.float64] | None = None

    def __init__(
        self,
        points: ArrayLike,
        values: ArrayLike,
        errors: ArrayLike | None,
        kernel: Kernel | str,
        beta: float,
        covariance: ArrayLike | None = None,
    ) -> None:
        chosen = Kernel(kernel)
        if not (np.isfinite(beta) and beta > 0):
            raise ValueError(f"beta: expected a positive number, found {beta}")
        found = _real(points, "points")
        if len(found) < FEWEST_POINTS:
            raise ValueError(f"points: expected at least {FEWEST_POINTS}, found {len(found)}")
        _check_points(found, chosen, beta)
        measured = _values(values, chosen, len(found))
        _check_sign(measured, chosen)
        errors_covariance = None if covariance is None else _covariance(covariance, len(found), chosen)
        kept = {
            "points": found,
            "values": measured,
            "errors": _errors(errors, errors_covariance, len(found)),
            "kernel": chosen,
            "beta": float(beta),
            "covariance": errors_covariance,
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @property
    def real_values(self) -> NDArray[np.float64]:
        """Return the values as real numbers: the real parts, followed by the imaginary ones where there are any."""
        return as_real(self.values)

    def is_measured_like(self, other: GreensFunction) -> bool:
        """Return whether points, errors, kernel and beta are the same, so that one decomposition serves both."""
        if (self.kernel, self.beta, self.covariance is None) != (other.kernel, other.beta, other.covariance is None):
            return False
        pairs = [(self.points, other.points), (self.errors, other.errors), (self.covariance, other.covariance)]
        return all(ours is None or theirs is None or np.array_equal(ours, theirs) for ours, theirs in pairs)


def as_real(values: NDArray[np.float64] | NDArray[np.complex128]) -> NDArray[np.float64]:
    """Stack real above imaginary parts along the first axis; real values stay as they are.

    >>> as_real(np.array([1 + 2j, 3 - 1j]))
    array([ 1.,  3.,  2., -1.])
    """
    if np.iscomplexobj(values):
        return np.concatenate([values.real, values.imag]).astype(np.float64)
    return np.asarray(values, dtype=np.float64)


def _real(given: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(given)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{name}: expected real numbers [n], found {array.dtype} {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    return array.astype(np.float64)


def _values(given: ArrayLike, kernel: Kernel, count: int) -> NDArray[np.float64] | NDArray[np.complex128]:
    array = np.asarray(given)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.number):
        raise ValueError(
            f"values: expected {count} numbers, as many as points, found {array.dtype} {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"values: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    if kernel is Kernel.FERMIONIC_MATSUBARA:
        if not np.iscomplexobj(array):
            raise ValueError("values: expected complex numbers for fermionic_matsubara, found real ones")
        return array.astype(np.complex128)
    if np.iscomplexobj(array):
        if np.any(array.imag != 0):
            raise ValueError(f"values: expected real numbers for {kernel}, found imaginary parts that are not 0")
        array = array.real
    return array.astype(np.float64)


def _check_points(points: NDArray[np.float64], kernel: Kernel, beta: float) -> None:
    if len(np.unique(points)) < len(points):
        raise ValueError("points: expected each point once, found one twice")
    if kernel.is_in_time:
        outside = points[(points < 0) | (points > beta * (1 + 1e-9))]
        if len(outside):
            raise ValueError(f"points: expected imaginary times in 0 .. beta = {beta:g}, found {outside[0]:g}")
        return
    index = points * beta / np.pi / 2 - (0 if kernel.is_bosonic else 0.5)
    wrong = points[np.abs(index - np.round(index)) > FREQUENCY_ROUNDING]
    if len(wrong):
        name, formula = ("bosonic", "2 n pi / beta") if kernel.is_bosonic else ("fermionic", "(2 n + 1) pi / beta")
        raise ValueError(
            f"points: {wrong[0]:g} is no {name} Matsubara frequency of beta = {beta:g}; expected {formula}"
        )


def _check_sign(values: NDArray[np.float64] | NDArray[np.complex128], kernel: Kernel) -> None:
    """Refuse the other convention of sign, in which G(tau) of fermions is positive."""
    if kernel is Kernel.FERMIONIC_TIME and np.all(values.real > 0):
        raise ValueError(
            "values: expected G(tau) = -<c(tau) c^+>, which is negative, found positive ones; give -values"
        )


def _errors(given: ArrayLike | None, covariance: NDArray[np.float64] | None, count: int) -> NDArray[np.float64]:
    if given is None:
        if covariance is None:
            raise ValueError(
                "errors: expected standard deviations or a covariance; estimate them over bins of the data"
            )
        return np.sqrt(np.diag(covariance)[:count])
    errors = _real(given, "errors")
    if errors.shape != (count,):
        raise ValueError(f"errors: expected {count}, as many as points, found {list(errors.shape)}")
    if not (errors > 0).all():
        raise ValueError(f"errors: expected positive standard deviations, found {errors[errors <= 0][0]:g}")
    return errors


def _covariance(given: ArrayLike, count: int, kernel: Kernel) -> NDArray[np.float64]:
    array = np.asarray(given)
    sizes = (count, 2 * count) if kernel is Kernel.FERMIONIC_MATSUBARA else (count,)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] not in sizes or np.iscomplexobj(array):
        expected = " or ".join(f"[{size}, {size}]" for size in sizes)
        raise ValueError(f"covariance: expected real numbers {expected}, found {array.dtype} {list(array.shape)}")
    matrix = array.astype(np.float64)
    if not np.isfinite(matrix).all():
        raise ValueError("covariance: expected finite numbers, found others")
    if np.abs(matrix - matrix.T).max() > SYMMETRY_ROUNDING * np.abs(matrix).max():
        raise ValueError("covariance: expected a symmetric matrix, found another")
    matrix = (matrix + matrix.T) / 2
    scale = np.sqrt(np.abs(np.diag(matrix)))
    if (np.diag(matrix) <= 0).any() or np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0] <= 0:
        raise ValueError("covariance: expected a positive definite matrix, found one that is not; more bins may help")
    return matrix
