"""Grids of real frequencies, and the weights of sums over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST_FREQUENCIES = 8


def linear_grid(minimum: float, maximum: float, points: int) -> NDArray[np.float64]:
    """Return equally spaced frequencies from `minimum` to `maximum`, [points]. Raises ValueError where they are none.

    >>> linear_grid(-2, 2, 9)
    array([-2. , -1.5, -1. , -0.5,  0. ,  0.5,  1. ,  1.5,  2. ])
    """
    _check_range(minimum, maximum, points)
    return np.linspace(minimum, maximum, points)


def centred_grid(minimum: float, maximum: float, points: int, *, density: float = 4.0) -> NDArray[np.float64]:
    """Return frequencies from `minimum` to `maximum` that lie closer at 0, [points].

    density: about how many times closer they lie at 0 than at the farther end; more than 1.
    Raises ValueError where the window is none, or does not hold 0.

        >>> grid = centred_grid(-8, 8, 81)
        >>> steps = np.diff(grid)
        >>> float(round(steps[0] / steps[40], 1))
        3.9
    """
    _check_range(minimum, maximum, points)
    if not minimum <= 0 <= maximum:
        raise ValueError(f"grid: expected a window that holds 0, found {minimum:g} .. {maximum:g}")
    if not (np.isfinite(density) and density > 1):
        raise ValueError(f"grid: expected a density above 1, found {density:g}")
    # w = scale sinh(t): the step grows with cosh(t), which is `density` at the farther end
    scale = max(-minimum, maximum) / np.sinh(np.arccosh(density))
    first, last = np.arcsinh(minimum / scale), np.arcsinh(maximum / scale)
    grid: NDArray[np.float64] = scale * np.sinh(np.linspace(first, last, points))
    grid[0], grid[-1] = minimum, maximum
    return grid


def weights(omega: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the trapezoidal rule on a grid, [n].

    >>> weights(np.array([0.0, 1.0, 3.0]))
    array([0.5, 1.5, 1. ])
    """
    steps = np.diff(omega) / 2
    return np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])


def checked_grid(omega: ArrayLike, *, bosonic: bool) -> NDArray[np.float64]:
    """Return a grid as float64. Raises ValueError unless it rises, and is not negative for bosons."""
    grid = np.asarray(omega, dtype=np.float64)
    if grid.ndim != 1 or len(grid) < FEWEST_FREQUENCIES:
        raise ValueError(f"omega: expected at least {FEWEST_FREQUENCIES} frequencies [n], found {list(grid.shape)}")
    if not np.isfinite(grid).all() or (np.diff(grid) <= 0).any():
        raise ValueError("omega: expected finite frequencies that rise, found others")
    if bosonic and grid[0] < 0:
        raise ValueError(f"omega: spectra of bosons are even, expected frequencies from 0 on, found {grid[0]:g}")
    return grid


def _check_range(minimum: float, maximum: float, points: int) -> None:
    if not (np.isfinite(minimum) and np.isfinite(maximum) and minimum < maximum):
        raise ValueError(f"grid: expected a minimum below the maximum, found {minimum:g} and {maximum:g}")
    if points < FEWEST_FREQUENCIES:
        raise ValueError(f"grid: expected at least {FEWEST_FREQUENCIES} points, found {points}")
