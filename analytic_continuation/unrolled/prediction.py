"""The learned spectrum of a Green's function, with its band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from analytic_continuation.greens_function import GreensFunction
from analytic_continuation.unrolled.model_files import ContinuationModel
from analytic_continuation.unrolled.network import Unrolled
from analytic_continuation.unrolled.problems import Problems, problems
from analytic_continuation.unrolled.stages import condition_number
from analytic_continuation.unrolled.window import Window, dimensionless
from analytic_continuation.whitening import WhitenedProblem

SMALLEST_SINGULAR = 1e-3  # of a whitened kernel: what is measured with a thousand times its size in noise says nothing


@dataclass(frozen=True, eq=False)
class Prediction:
    """A spectrum on a grid [m], the ends of its band, and what the stages were."""

    values: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    details: dict[str, Any]


def predicted(
    model: ContinuationModel,
    greens: Sequence[GreensFunction],
    omega: NDArray[np.float64],
    norms: NDArray[np.float64],
    *,
    is_known: bool,
) -> list[Prediction]:
    """Return the learned spectra on a grid [m] of B Green's functions with the same points, errors, kernel and beta.

    norms: integrals of the spectra, [B].  is_known: given, rather than estimated from the same data.
    """
    window = Window.around(omega, greens[0].kernel)
    problem = dimensionless(greens, window, norms, is_known=is_known)
    batch = _problems(problem, norms, greens[0].beta, window)
    found = _solved(model, batch)
    predictions = []
    for number, norm in enumerate(norms.tolist()):
        values = window.spectrum(found.density[number].double().numpy(), omega, norm)
        scale = window.spectrum(found.scale[number].double().numpy(), omega, norm)
        half_width = scale * model.bands.of(float(batch.singular[number, 0]), is_even=window.is_even)
        details = _details(problem, norm, found.log_rho[number].tolist())
        predictions.append(Prediction(values, np.maximum(values - half_width, 0), values + half_width, details))
    return predictions


def stage_spectra(
    model: ContinuationModel, green: GreensFunction, omega: NDArray[np.float64], norm: float, *, is_known: bool
) -> NDArray[np.float64]:
    """Return the spectrum after each stage, [stages, m]; the last is that of `predicted`."""
    window, norms = Window.around(omega, green.kernel), np.array([norm])
    problem = dimensionless([green], window, norms, is_known=is_known)
    found = _solved(model, _problems(problem, norms, green.beta, window))
    return np.stack([window.spectrum(density[0].double().numpy(), omega, norm) for density in found.densities])


@torch.no_grad()
def _solved(model: ContinuationModel, batch: Problems) -> Unrolled:
    found: Unrolled = model.network(batch)
    return found


def _problems(problem: WhitenedProblem, norms: NDArray[np.float64], beta: float, window: Window) -> Problems:
    kept = problem.singular * norms.max() > SMALLEST_SINGULAR
    kept[0] = True
    singular = problem.singular[kept] * norms[:, None]
    return problems(singular, problem.right[kept], problem.data[kept].T / singular, beta, window)


def _details(problem: WhitenedProblem, norm: float, log_rho: Sequence[float]) -> dict[str, Any]:
    largest = float(problem.singular[0]) * norm
    return {
        "kernel_condition": problem.condition,
        "rho": [10**log for log in log_rho],
        "condition_numbers": [condition_number(10**log, largest) for log in log_rho],
    }
