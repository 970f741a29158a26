"""The learned spectrum of a Green's function, with its band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from analytic_continuation.greens_function import GreensFunction
from analytic_continuation.spectrum import Peak
from analytic_continuation.unrolled.bands import Factors
from analytic_continuation.unrolled.model_files import ContinuationModel
from analytic_continuation.unrolled.network import Unrolled
from analytic_continuation.unrolled.peaks import node_peaks
from analytic_continuation.unrolled.problems import Problems, dimensionless, problems
from analytic_continuation.unrolled.stages import condition_number
from analytic_continuation.unrolled.window import Window
from analytic_continuation.whitening import WhitenedProblem

SMALLEST_SINGULAR = 1e-3  # of a whitened kernel: what is measured with a thousand times its size in noise says nothing


@dataclass(frozen=True, eq=False)
class Prediction:
    """A spectrum on a grid [m], the ends of its band, what finds its peaks, and what the stages were."""

    values: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    peak_finder: Callable[[], tuple[Peak, ...]]
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
    Raises ValueError where window, beta and norm are so far apart that the network has no finite answer.
    """
    window = Window.around(omega, greens[0].kernel)
    problem = dimensionless(greens, window, norms, is_known=is_known)
    batch = _problems(problem, norms, greens[0].beta, window)
    found = _solved(model, batch)
    densities, scales = (each.double().numpy() for each in (found.density, found.scale))
    if not (np.isfinite(densities).all() and np.isfinite(scales).all()):
        raise ValueError(
            f"no finite spectrum in a window of {omega[0]:g} .. {omega[-1]:g} at beta = {greens[0].beta:g} and a norm "
            f"of {norms.max():g}; expected a window as wide as the spectrum, in the unit of 1 / beta"
        )
    factors = [model.bands.of(float(largest), is_even=window.is_even) for largest in batch.singular[:, 0]]
    # together, as a spline costs the same for one as for two
    values, errors = np.split(window.spectra(np.concatenate([densities, scales]), omega, np.tile(norms, 2)), 2)
    half_widths = errors * np.array([each.values for each in factors])[:, None]
    log_rho = found.log_rho.tolist()
    return [
        Prediction(
            values=values[number],
            lower=np.maximum(values[number] - half_widths[number], 0),
            upper=values[number] + half_widths[number],
            peak_finder=partial(_peaks, densities[number], scales[number], factors[number], window, norm),
            details=_details(problem, norm, log_rho[number]),
        )
        for number, norm in enumerate(norms.tolist())
    ]


def stage_spectra(
    model: ContinuationModel, green: GreensFunction, omega: NDArray[np.float64], norm: float, *, is_known: bool
) -> NDArray[np.float64]:
    """Return the spectrum after each stage, [stages, m]; the last is that of `predicted`."""
    window, norms = Window.around(omega, green.kernel), np.array([norm])
    problem = dimensionless([green], window, norms, is_known=is_known)
    found = _solved(model, _problems(problem, norms, green.beta, window))
    densities = torch.cat(found.densities).double().numpy()
    return window.spectra(densities, omega, np.full(len(densities), norm))


def _peaks(
    density: NDArray[np.float64], scale: NDArray[np.float64], factors: Factors, window: Window, norm: float
) -> tuple[Peak, ...]:
    found = node_peaks(density, scale, is_even=window.is_even)
    positions, away = window.centre + window.half * found.positions, window.half * factors.positions
    ends = np.stack([positions - away * found.position_errors, positions + away * found.position_errors])
    ends = np.clip(ends, 0 if window.is_even else window.centre - window.half, window.centre + window.half)
    weights, off = norm * found.weights, norm * factors.weights * found.weight_errors
    bands = np.clip(np.stack([weights - off, weights + off]), 0, norm)
    sides = window.centre + window.half * found.ends
    return tuple(
        Peak(position, (low, high), (left, right), weight, (least, most))
        for position, low, high, left, right, weight, least, most in np.stack(
            [positions, *ends, sides[:-1], sides[1:], weights, *bands]
        ).T.tolist()
    )


@torch.inference_mode()
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
