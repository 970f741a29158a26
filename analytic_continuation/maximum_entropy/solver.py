"""The spectrum of maximum entropy at one weight of the entropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytic_continuation.whitening import WhitenedProblem

MOST_STEPS = 200
RELATIVE_DECREMENT = 1e-12  # of Newton's method, squared, at which whole steps are safe
SUFFICIENT = 1e-4  # part of the promised decrease that a step must give (Armijo)
LARGEST_EXPONENT = 300.0


@dataclass(frozen=True, eq=False)
class EntropySolution:
    """A minimiser of chi^2 / 2 - alpha S.

    cells: integrals of the spectrum over the grid's cells, [m].  dual: whitened residual over alpha, [r].
    chi_squared: of the data.  entropy: S, at most 0.  good: number of good data (Gull 1989).  steps: of Newton.
    """

    alpha: float
    cells: NDArray[np.float64]
    dual: NDArray[np.float64]
    chi_squared: float
    entropy: float
    good: float
    steps: int


def solve_entropy(
    problem: WhitenedProblem, default: NDArray[np.float64], alpha: float, *, start: NDArray[np.float64] | None = None
) -> EntropySolution:
    """Minimise chi^2(a) / 2 - alpha S(a | default), S = sum a - default - a log(a / default), over a > 0.

    problem: whitened data.  default: integrals of the default model over the cells, [m], positive.
    start: dual of a solution nearby, [r].
    Solves the dual problem, which is convex, smooth and small (Bryan 1990 gave the space of singular vectors): with
    a = default exp(v s y), minimise alpha |y|^2 / 2 + sum a - data y over y [r] by Newton's method with line search.
    Raises ValueError where it does not converge.
    """
    matrix = problem.singular[:, None] * problem.right
    dual = np.zeros(len(problem.data)) if start is None else start.copy()
    cells = _cells(default, dual @ matrix)
    before = np.inf
    for step in range(MOST_STEPS):
        gradient = alpha * dual + matrix @ cells - problem.data
        hessian = (matrix * cells) @ matrix.T
        hessian[np.diag_indices_from(hessian)] += alpha
        direction = np.asarray(-np.linalg.solve(hessian, gradient), dtype=np.float64)
        decrement = -float(gradient @ direction)
        if decrement > RELATIVE_DECREMENT * (1 + float(cells.sum()) + alpha * float(dual @ dual)):
            dual, cells = _line_search(problem, default, alpha, matrix, dual, cells, direction, decrement)
            continue
        # so near, whole steps square the error, until rounding ends that
        dual = dual + direction
        cells = _cells(default, dual @ matrix)
        if decrement > before / 2 or decrement <= 0:
            return _solution(problem, default, alpha, dual, cells, matrix, step)
        before = decrement
    raise ValueError(f"maximum entropy did not converge at alpha = {alpha:g}; are errors far below the data's scatter?")


def _cells(default: NDArray[np.float64], exponent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a = default exp(v s y), both [m], with exponents that do not overflow."""
    cells: NDArray[np.float64] = default * np.exp(np.clip(exponent, -LARGEST_EXPONENT, LARGEST_EXPONENT))
    return cells


def _line_search(
    problem: WhitenedProblem,
    default: NDArray[np.float64],
    alpha: float,
    matrix: NDArray[np.float64],
    dual: NDArray[np.float64],
    cells: NDArray[np.float64],
    direction: NDArray[np.float64],
    decrement: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Halve the step until the dual falls by a part of what its slope promises."""
    exponent, slope = dual @ matrix, direction @ matrix
    linear = float((alpha * dual - problem.data) @ direction)
    square = alpha * float(direction @ direction) / 2
    length = 1.0
    for _ in range(60):
        moved = _cells(default, exponent + length * slope)
        change = length * linear + length**2 * square + float(np.sum(moved - cells))
        # rounding of the sums near the minimum, where the full step is right
        if change <= -SUFFICIENT * length * decrement + 1e-13 * float(cells.sum() + np.abs(linear)):
            break
        length /= 2
    return dual + length * direction, moved


def _solution(
    problem: WhitenedProblem,
    default: NDArray[np.float64],
    alpha: float,
    dual: NDArray[np.float64],
    cells: NDArray[np.float64],
    matrix: NDArray[np.float64],
    steps: int,
) -> EntropySolution:
    scaled = np.linalg.eigvalsh((matrix * cells) @ matrix.T)
    return EntropySolution(
        alpha=alpha,
        cells=cells,
        dual=dual,
        chi_squared=problem.chi_squared(cells),
        entropy=float(np.sum(cells - default - cells * (dual @ matrix))),
        good=float(np.sum(scaled / (alpha + scaled))),
        steps=steps,
    )
