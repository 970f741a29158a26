"""The tail of a self-energy: its constant part, which no spectrum holds, and the weight of the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TAIL = 1 / 3  # part of the frequencies, the highest ones, to which the tail is fitted
FEWEST = 4  # of them


@dataclass(frozen=True)
class Tail:
    """Hold constant and weight of Sigma(i w) = constant + weight / (i w) + ...; the weight is the spectrum's norm.

    error, weight_error: their standard deviations; 0 of a constant that was given.
    """

    constant: float
    error: float
    weight: float
    weight_error: float


def fit_tail(
    frequencies: NDArray[np.float64],
    values: NDArray[np.complex128],
    errors: NDArray[np.float64],
    constant: float | None = None,
) -> Tail:
    """Fit the tail of a self-energy to its highest frequencies by least squares.

    frequencies: w_n of both signs, [n].  values: Sigma(i w_n), [n].  errors: of each part, [n].
    constant: where it is known, as mean field gives it.
    The real part is constant + a / w^2, w times the imaginary one -weight + b / w^2.

        >>> w = np.pi / 10 * (2 * np.arange(40) + 1)
        >>> tail = fit_tail(w, 1.5 + 2 / (1j * w), np.full(40, 1e-6))
        >>> round(tail.constant, 6), round(tail.weight, 6)
        (1.5, 2.0)
    """
    highest = np.argsort(-np.abs(frequencies))[: max(FEWEST, round(TAIL * len(frequencies)))]
    w, sigma, error = frequencies[highest], values[highest], errors[highest]
    fitted, deviation = _fitted(w, sigma.real, error)
    weight, weight_error = _fitted(w, -w * sigma.imag, np.abs(w) * error)
    if constant is not None:
        fitted, deviation = constant, 0.0
    return Tail(fitted, deviation, weight, weight_error)


def _fitted(w: NDArray[np.float64], values: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float]:
    """Fit c + a / w^2; return c and its standard deviation."""
    scale = np.abs(w).max()  # so that both columns are of order 1
    design = np.stack([np.ones_like(w), (scale / w) ** 2], axis=1) / errors[:, None]
    inverse = np.linalg.pinv(design)
    return float(inverse[0] @ (values / errors)), float(np.linalg.norm(inverse[0]))
