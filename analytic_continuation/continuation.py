"""Analytic continuation: from a Green's function to its spectrum, by any of the methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytic_continuation.greens_function import GreensFunction
from analytic_continuation.grids import checked_grid, weights
from analytic_continuation.maximum_entropy.alpha import maximum_entropy
from analytic_continuation.names import ALPHA_RULES, DEFAULT_MODEL, METHODS
from analytic_continuation.norm import estimated_norm
from analytic_continuation.signed import shifted
from analytic_continuation.spectrum import Spectrum, described
from analytic_continuation.whitening import whitened

NORM_ERROR = 1e-4  # of a known norm, as a part of it: about what quadrature on a grid leaves
LEAST_COUNTS = 300.0  # that a learned default model is worth: the least alpha times the norm
FLAT_PART = 1e-3  # of a learned default model: entropy never leaves 0


@dataclass(frozen=True, eq=False)
class _Question:
    """A Green's function with a grid [m], and the integral of its spectrum, which is known or estimated.

    plain: the default model that knows no data, [m].
    """

    green: GreensFunction
    omega: NDArray[np.float64]
    norm: float
    norm_is_known: bool
    plain: NDArray[np.float64]
    alpha_rule: str
    model: Path | str


def continue_spectrum(
    green: GreensFunction,
    omega: ArrayLike,
    method: str = "learned",
    *,
    norm: float | None = None,
    positive: bool = True,
    alpha_rule: str = "chi2kink",
    model: Path | str = DEFAULT_MODEL,
) -> Spectrum:
    """Return the spectral function of a Green's function on a grid of real frequencies.

    green: data with errors.  omega: grid that rises, [m]; it should hold the whole spectrum.  method: of `METHODS`.
    norm: integral of the spectrum, 1 for a Green's function of one orbital; None for what the data say.
    positive: False for off-diagonal data, whose spectra have both signs; their norm is often 0.
    alpha_rule: of `ALPHA_RULES`, how "maxent" chooses alpha; "maxent_neural" always takes chi^2 = number of data.
    model: name of a shipped network, or the file of one that was trained.
    Raises ValueError in one line where method, grid and data do not fit, FileNotFoundError where there is no model.

        >>> frequencies = np.pi / 10 * (2 * np.arange(16) + 1)
        >>> values = 1 / (1j * frequencies - 1)  # a pole at w = 1
        >>> green = GreensFunction(frequencies, values, np.full(16, 1e-3), "fermionic_matsubara", beta=10)
        >>> spectrum = continue_spectrum(green, np.linspace(-4, 4, 81), "maxent", norm=1.0)
        >>> float(spectrum.omega[spectrum.values.argmax()])
        1.0
    """
    _check(method, alpha_rule, norm, positive=positive)
    grid = checked_grid(omega, bosonic=green.kernel.is_bosonic)
    if positive:
        total = estimated_norm(green, float(grid[0]), float(grid[-1])) if norm is None else norm
        plain = np.full(len(grid), total / (grid[-1] - grid[0]))
        return _METHODS[method](_Question(green, grid, total, norm is not None, plain, alpha_rule, model))
    moved = shifted(green, grid)
    total = moved.norm + norm if norm is not None else estimated_norm(moved.green, float(grid[0]), float(grid[-1]))
    question = _Question(moved.green, grid, total, norm is not None, moved.background, alpha_rule, model)
    found = _METHODS[method](question)
    band = None
    if found.lower is not None and found.upper is not None:
        # what the sum cannot be below says nothing of the difference
        band = (found.lower - moved.background, found.upper - moved.background)
    details = {**found.details, "background_norm": moved.norm}
    return described(green, grid, found.values - moved.background, method=method, details=details, band=band)


def continue_spectra(
    greens: Sequence[GreensFunction],
    omega: ArrayLike,
    *,
    norm: float | None = None,
    model: Path | str = DEFAULT_MODEL,
) -> list[Spectrum]:
    """Return the learned spectra of many Green's functions at once, which takes a fraction of one by one.

    greens: with the same points, errors, kernel and beta, as the elements of a calculation on a mesh have them.
    omega, norm, model: as `continue_spectrum` takes them, for all.
    Raises ValueError where the Green's functions do not share these.
    """
    if not greens:
        return []
    _check("learned", "chi2kink", norm, positive=True)
    first = greens[0]
    for number, green in enumerate(greens):
        if not first.is_measured_like(green):
            raise ValueError(f"greens: expected points, errors, kernel and beta of the first, found others in {number}")
    grid = checked_grid(omega, bosonic=first.kernel.is_bosonic)
    low, high = float(grid[0]), float(grid[-1])
    norms = [estimated_norm(green, low, high) if norm is None else norm for green in greens]
    return _learned_spectra(greens, grid, np.array(norms), norm is not None, model)


def _check(method: str, alpha_rule: str, norm: float | None, *, positive: bool) -> None:
    if method not in METHODS:
        raise ValueError(f"expected a method out of {', '.join(METHODS)}, found {str(method)[:50]!r}")
    if alpha_rule not in ALPHA_RULES:
        raise ValueError(f"expected a rule for alpha out of {', '.join(ALPHA_RULES)}, found {str(alpha_rule)[:50]!r}")
    if norm is not None and not (np.isfinite(norm) and (norm > 0 or not positive)):
        raise ValueError(f"norm: expected a positive number, found {norm}")


def _flat_maxent(question: _Question) -> Spectrum:
    return _maxent(question, "maxent", {"default": "flat"})


def _learned(question: _Question) -> Spectrum:
    norms = np.array([question.norm])
    (found,) = _learned_spectra([question.green], question.omega, norms, question.norm_is_known, question.model)
    return found


def _learned_spectra(
    greens: Sequence[GreensFunction],
    omega: NDArray[np.float64],
    norms: NDArray[np.float64],
    norm_is_known: bool,
    model: Path | str,
) -> list[Spectrum]:
    # here: maximum entropy alone needs no PyTorch, which takes seconds to import
    from analytic_continuation.unrolled.model_files import load_model
    from analytic_continuation.unrolled.prediction import predicted

    told = {"model": str(model), "norm_is_known": norm_is_known}
    predictions = predicted(load_model(model), greens, omega, norms, is_known=norm_is_known)
    matrix = greens[0].kernel.matrix(greens[0].points, omega, greens[0].beta)
    return [
        described(
            green,
            omega,
            found.values,
            method="learned",
            details={**told, **found.details},
            band=(found.lower, found.upper),
            peak_finder=found.peak_finder,
            matrix=matrix,
        )
        for green, found in zip(greens, predictions, strict=True)
    ]


def _neural_maxent(question: _Question) -> Spectrum:
    default = (1 - FLAT_PART) * _learned(question).values + FLAT_PART * question.plain
    asked = replace(question, plain=default, alpha_rule="historic")
    told = {"default": "learned", "model": str(question.model)}
    return _maxent(asked, "maxent_neural", told, least_alpha=LEAST_COUNTS / question.norm)


def _maxent(question: _Question, method: str, details: dict[str, Any], *, least_alpha: float = 0.0) -> Spectrum:
    """Return the spectrum of maximum entropy nearest to the question's plain default model."""
    cell = weights(question.omega)
    known = question.norm if question.norm_is_known else None
    problem = whitened(question.green, question.omega, norm=known, norm_error=NORM_ERROR * question.norm)
    found = maximum_entropy(problem, question.plain * cell, question.alpha_rule, least_alpha=least_alpha)
    told = {
        "alpha": found.alpha,
        "alpha_rule": question.alpha_rule,
        "entropy": found.entropy,
        "good_data": found.good,
        "kernel_condition": problem.condition,
    }
    return described(question.green, question.omega, found.cells / cell, method=method, details={**details, **told})


_METHODS = {"learned": _learned, "maxent": _flat_maxent, "maxent_neural": _neural_maxent}
