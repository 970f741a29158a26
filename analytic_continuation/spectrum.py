"""The spectrum that a continuation gives, with what it says of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytic_continuation.greens_function import GreensFunction, as_real
from analytic_continuation.grids import weights
from analytic_continuation.whitening import Whitening

MOMENTS = 3


@dataclass(frozen=True)
class Peak:
    """A peak with the ends of its 90 % bands.

    position: frequency of the maximum.  position_band: holds that of a peak of the true spectrum.
    ends: minima beside it, or the window's ends.  weight: integral between them.
    weight_band: holds the integral of the true spectrum between the same ends.
    """

    position: float
    position_band: tuple[float, float]
    ends: tuple[float, float]
    weight: float
    weight_band: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Hold a spectral function with its quality.

    omega, values: real frequencies and A(w), [m]; of bosons A(w) = 2 Im chi(w) / (pi w), see `Kernel`.
    lower, upper: ends of the band at each frequency, [m]; None where the method has none.
    chi_squared_per_point: chi^2 over the number of real data; near 1 where the spectrum fits the data.
    norm: integral of A.  moments: integrals of w A, w^2 A and w^3 A.
    method: which of `METHODS` made it.
    back_transform: what the spectrum would measure at the data's points, [n].
    details: what the method reports of itself, as JSON has it.
    peak_finder: finds `peaks` when they are asked for, which many of a large batch are not.
    """

    omega: NDArray[np.float64]
    values: NDArray[np.float64]
    lower: NDArray[np.float64] | None
    upper: NDArray[np.float64] | None
    chi_squared_per_point: float
    norm: float
    moments: tuple[float, ...]
    method: str
    back_transform: NDArray[np.float64] | NDArray[np.complex128]
    details: Mapping[str, Any]
    peak_finder: Callable[[], tuple[Peak, ...]] = tuple

    @cached_property
    def peaks(self) -> tuple[Peak, ...]:
        """Return the peaks from low to high frequency; none of methods that have no bands for them."""
        return self.peak_finder()


def described(
    green: GreensFunction,
    omega: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    method: str,
    details: Mapping[str, Any],
    band: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    peak_finder: Callable[[], tuple[Peak, ...]] = tuple,
    matrix: NDArray[np.float64] | NDArray[np.complex128] | None = None,
) -> Spectrum:
    """Return a spectrum [m] with its back-transform, chi^2 and moments. matrix: the kernel, where it is at hand."""
    cells = values * weights(omega)
    back = (green.kernel.matrix(green.points, omega, green.beta) if matrix is None else matrix) @ cells
    residual = Whitening(green)(as_real(back) - green.real_values)
    lower, upper = band if band is not None else (None, None)
    return Spectrum(
        omega=omega,
        values=values,
        lower=lower,
        upper=upper,
        chi_squared_per_point=float(np.mean(residual**2)),
        norm=float(cells.sum()),
        moments=tuple((omega ** np.arange(1, MOMENTS + 1)[:, None] @ cells).tolist()),
        method=method,
        back_transform=back,
        details=dict(details),
        peak_finder=peak_finder,
    )
