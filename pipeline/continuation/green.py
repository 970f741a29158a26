"""From settings to the Green's function that is continued, and the grid of its spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytic_continuation import GreensFunction, Kernel, centred_grid, linear_grid
from pipeline.continuation.measured_files import MeasuredFile, read_covariance, read_measured
from pipeline.continuation.self_energy import Tail, fit_tail
from pipeline.errors import RunError
from pipeline.settings import GreenSettings, SpectrumSettings

HOW_TO_ESTIMATE = (
    "estimate them as the standard deviation of the mean over bins or independent runs (or by jackknife), or give "
    "green.errors=1e-3 for all values alike"
)


@dataclass(frozen=True)
class Measured:
    """Data ready to be continued.  tail: of a self-energy, whose constant part is no longer in the values."""

    green: GreensFunction
    tail: Tail | None = None


def read_green(settings: GreenSettings) -> Measured:
    """Read what was measured, and check that it fits kernel and temperature.

    Raises RunError that names the setting or the file.
    """
    for name, example in (("path", "green.txt"), ("kernel", "fermionic_matsubara"), ("beta", "20")):
        if getattr(settings, name) is None:
            raise RunError(f"green.{name} is missing; give it, as in green.{name}={example}")
    path, kernel, beta = Path(str(settings.path)), Kernel(str(settings.kernel)), float(settings.beta or 0)
    found = read_measured(path, is_complex=kernel is Kernel.FERMIONIC_MATSUBARA, group=settings.group)
    errors, covariance = _errors_of(found, settings)
    try:
        green = GreensFunction(found.points, found.values, errors, kernel, beta, covariance)
    except ValueError as error:
        is_of_covariance = settings.covariance is not None and str(error).startswith("covariance")
        raise RunError(f"{settings.covariance if is_of_covariance else path}: {error}") from None
    return _without_constant(green, settings.constant) if settings.self_energy else Measured(green)


def grid_of(settings: SpectrumSettings, *, bosonic: bool) -> NDArray[np.float64]:
    """Return the real frequencies that the settings ask for. Raises ValueError where they are none."""
    if settings.omega_max is None:
        raise RunError("spectrum.omega_max is missing; give the window's end, beyond all of the spectrum")
    lowest = settings.omega_min
    if lowest is None:
        lowest = 0.0 if bosonic else -settings.omega_max
    make = linear_grid if settings.grid == "linear" else centred_grid
    return make(lowest, settings.omega_max, settings.n_points)


def _errors_of(
    found: MeasuredFile, settings: GreenSettings
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return error bars [n] and covariance, one of which is None; those of the settings before the file's."""
    if settings.covariance is not None:
        return None, read_covariance(Path(settings.covariance), group=settings.group)
    if found.covariance is not None:
        return None, found.covariance
    if found.errors is None:
        if settings.errors is None:
            raise RunError(f"{settings.path} has no error bars; {HOW_TO_ESTIMATE}")
        return np.full(len(found.points), settings.errors), None
    if settings.errors is not None:
        raise RunError(f"green.errors={settings.errors:g} is for files without error bars; {settings.path} has some")
    if found.errors.ndim == 2:  # of real and imaginary parts
        _check_positive(found.errors, str(settings.path))
        return None, np.diag(found.errors.T.reshape(-1) ** 2)
    return found.errors, None


def _check_positive(errors: NDArray[np.float64], path: str) -> None:
    wrong = errors[~(errors > 0)]
    if len(wrong):
        raise RunError(f"{path}: errors: expected positive standard deviations, found {wrong[0]:g}")


def _without_constant(green: GreensFunction, constant: float | None) -> Measured:
    """Subtract the constant part of a self-energy; the error of a fitted one is common to all real parts."""
    tail = fit_tail(green.points, np.asarray(green.values, dtype=np.complex128), green.errors, constant)
    count = len(green.points)
    covariance: NDArray[Any] | None = green.covariance
    if tail.error > 0:
        if covariance is None:
            covariance = np.diag(np.tile(green.errors**2, 2))
        elif len(covariance) == count:
            covariance = np.kron(np.eye(2), covariance)
        covariance = covariance.copy()
        covariance[:count, :count] += tail.error**2
    values = green.values - tail.constant
    return Measured(GreensFunction(green.points, values, green.errors, green.kernel, green.beta, covariance), tail)
