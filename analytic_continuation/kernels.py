"""The kernels that take a spectrum to what quantum Monte Carlo measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytic_continuation.names import ALIASES


class Kernel(StrEnum):
    """What is measured: of fermions or bosons, at Matsubara frequencies or at imaginary times.

    Fermions: G(z) = integral of A(w) / (z - w), at z = i w_n; G(tau) is negative, as -<c(tau) c^+> is.
    Bosons: chi(i nu) = integral over w >= 0 of A(w) w^2 / (w^2 + nu^2), and chi(tau) is its Fourier sum. So A(w) is
    2 Im chi(w) / (pi w), even in w and not negative, and its integral is chi(0) (Jarrell & Gubernatis 1996).
    The names of ana_cont are understood too.

        >>> Kernel("freq_fermionic")
        <Kernel.FERMIONIC_MATSUBARA: 'fermionic_matsubara'>
    """

    FERMIONIC_MATSUBARA = "fermionic_matsubara"
    FERMIONIC_TIME = "fermionic_time"
    BOSONIC_MATSUBARA = "bosonic_matsubara"
    BOSONIC_TIME = "bosonic_time"

    @classmethod
    def _missing_(cls, value: object) -> Kernel | None:
        name = ALIASES.get(str(value))
        if name is None:
            raise ValueError(f"expected a kernel out of {', '.join(cls)}, found {str(value)[:50]!r}")
        return cls(name)

    @property
    def is_bosonic(self) -> bool:
        """True where the spectrum is even and lives on w >= 0."""
        return self in (Kernel.BOSONIC_MATSUBARA, Kernel.BOSONIC_TIME)

    @property
    def is_in_time(self) -> bool:
        """True where the points are imaginary times between 0 and beta."""
        return self in (Kernel.FERMIONIC_TIME, Kernel.BOSONIC_TIME)

    def matrix(self, points: ArrayLike, omega: ArrayLike, beta: float) -> NDArray[np.float64] | NDArray[np.complex128]:
        """Return the kernel at each point and real frequency, [points, omega]; complex for fermionic_matsubara.

        points: Matsubara frequencies or imaginary times.  omega: real frequencies.  beta: inverse temperature, in the
        inverse unit of the frequencies.

            >>> Kernel.FERMIONIC_MATSUBARA.matrix([1.0], [0.0, 1.0], beta=np.pi)
            array([[ 0. -1.j , -0.5-0.5j]])
        """
        rows = np.asarray(points, dtype=np.float64)[:, None]
        columns = np.asarray(omega, dtype=np.float64)[None, :]
        found: NDArray[np.float64] | NDArray[np.complex128] = _MATRICES[self](rows, columns, beta)
        return found


def _fermionic_matsubara(
    frequency: NDArray[np.float64], omega: NDArray[np.float64], _: float
) -> NDArray[np.complex128]:
    return np.asarray(1 / (1j * frequency - omega), dtype=np.complex128)


def _fermionic_time(tau: NDArray[np.float64], omega: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    # both signs of the frequency by exponents that are not positive, so that none overflows
    exponent = np.where(omega >= 0, -tau * omega, (beta - tau) * omega)
    return np.asarray(-np.exp(exponent) / (1 + np.exp(-beta * np.abs(omega))), dtype=np.float64)


def _bosonic_matsubara(frequency: NDArray[np.float64], omega: NDArray[np.float64], _: float) -> NDArray[np.float64]:
    denominator = omega**2 + frequency**2
    return np.where(denominator > 0, omega**2 / np.where(denominator > 0, denominator, 1), 1.0)


def _bosonic_time(tau: NDArray[np.float64], omega: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    # w / (1 - exp(-beta w)) is 1 / beta at w = 0
    scaled = np.where(omega == 0, 1.0, beta * omega)
    occupied = np.where(omega == 0, 1.0, scaled / -np.expm1(-scaled)) / beta
    return np.asarray(0.5 * occupied * (np.exp(-tau * omega) + np.exp(-(beta - tau) * omega)), dtype=np.float64)


_MATRICES: Mapping[Kernel, Callable[..., Any]] = MappingProxyType(
    {
        Kernel.FERMIONIC_MATSUBARA: _fermionic_matsubara,
        Kernel.FERMIONIC_TIME: _fermionic_time,
        Kernel.BOSONIC_MATSUBARA: _bosonic_matsubara,
        Kernel.BOSONIC_TIME: _bosonic_time,
    }
)
