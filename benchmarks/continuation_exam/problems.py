"""Problems of the exam: data with noise and true error bars, and the spectrum to be found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from analytic_continuation import GreensFunction, Kernel, linear_grid
from continuation_exam.spectra import ExamSpectrum, act_spectra, unseen_spectra

SEED = 2107  # of the spectra that judge; what is chosen is chosen on others
WINDOW = 8.0
FINER = 20  # times as many frequencies for the exact data as in the answer
PARTS = ("ACT fermionic", "ACT bosonic", "unseen")
NOISES = (1e-2, 1e-4, 1e-6)


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, and the true spectrum on the grid of the answer, [m].

    noise: standard deviation of a value over its modulus, real and imaginary part together.
    """

    part: str
    spectrum: ExamSpectrum
    noise: float
    green: GreensFunction
    omega: NDArray[np.float64]
    truth: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Tell it from all others."""
        return f"{self.part}/{self.spectrum.family}/{self.spectrum.index}/{self.noise:g}"

    @property
    def norm(self) -> float | None:
        """What is known of the integral: 1 of a Green's function, which data of bosons hold themselves."""
        return None if self.green.kernel.is_bosonic or not self.spectrum.is_positive else 1.0

    def error(self, answer: NDArray[np.float64]) -> float:
        """Return integral of |truth - answer| over that of |truth|, as ACT100 defines it."""
        integral = trapezoid(np.abs(self.truth), self.omega)
        return float(trapezoid(np.abs(self.truth - answer), self.omega) / integral)


def score(errors: NDArray[np.float64]) -> float:
    """Return ACT100's score of some problems, sum of max(0, 1 - error).

    >>> score(np.array([0.25, 2.0]))
    0.75
    """
    return float(np.maximum(0, 1 - errors).sum())


def problems(seed: int = SEED, parts: tuple[str, ...] = PARTS, noises: tuple[float, ...] = NOISES) -> Iterator[Problem]:
    """Yield all problems; the noise of a problem is the same draw at each level."""
    for part in parts:
        kernel, beta, count, points = _LAYOUT[part]
        spectra = unseen_spectra(seed) if part == "unseen" else act_spectra(seed, bosonic=kernel.is_bosonic)
        omega = linear_grid(0 if kernel.is_bosonic else -WINDOW, WINDOW, points)
        for number, spectrum in enumerate(spectra):
            for noise in noises:
                generator = np.random.default_rng([seed, PARTS.index(part), number])
                yield _problem(part, spectrum, noise, generator, kernel, beta, count, omega)


_LAYOUT = {
    "ACT fermionic": (Kernel.FERMIONIC_MATSUBARA, 20.0, 10, 801),
    "ACT bosonic": (Kernel.BOSONIC_MATSUBARA, 20.0, 10, 401),
    "unseen": (Kernel.FERMIONIC_MATSUBARA, 10.0, 32, 401),
}


def _problem(
    part: str,
    spectrum: ExamSpectrum,
    noise: float,
    generator: np.random.Generator,
    kernel: Kernel,
    beta: float,
    count: int,
    omega: NDArray[np.float64],
) -> Problem:
    fine = linear_grid(omega[0], omega[-1], FINER * (len(omega) - 1) + 1)
    exact = spectrum.shape(fine)
    scale = trapezoid(np.abs(exact), fine)  # all have the weight of one orbital
    indices = 2 * np.arange(count) + (0 if kernel.is_bosonic else 1)
    points = np.pi / beta * indices
    values = trapezoid(kernel.matrix(points, fine, beta) * exact / scale, fine, axis=1)
    is_complex = np.iscomplexobj(values)
    errors = noise * np.abs(values) / np.sqrt(2 if is_complex else 1)
    drawn = generator.normal(size=(2, count))
    values = values + errors * (drawn[0] + 1j * drawn[1] if is_complex else drawn[0])
    green = GreensFunction(points, values, errors, kernel, beta)
    return Problem(part, spectrum, noise, green, omega, spectrum.shape(omega) / scale)
