"""Peaks of a density over the window: where they are, what they weigh, and the sizes of error that are expected."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, peak_widths

from analytic_continuation.grids import weights
from analytic_continuation.unrolled.window import STEP, nodes

PROMINENCE = 0.1  # of the highest value: what rises less above its sides is no peak
TRUE_PROMINENCE = 0.01  # of exact densities, beside whose high, narrow peaks broad ones are low
LEAST_ERROR = STEP / 10  # of a position that is expected: the nodes hold no more

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NodePeaks:
    """Peaks of a density, from low to high u; of an even one those of u >= 0, whose weights are 1 together.

    positions: u of the maxima, [p].  weights: integrals from the minimum on one side to that on the other, [p].
    position_errors, weight_errors: sizes of error that are expected, up to a factor, [p].
    edges: nodes between which weights are, [p + 1].  ends: the same as values of u.
    """

    positions: Array
    weights: Array
    position_errors: Array
    weight_errors: Array
    edges: NDArray[np.intp]
    ends: Array


def node_peaks(density: Array, scale: Array, *, is_even: bool, prominence: float = PROMINENCE) -> NodePeaks:
    """Find the peaks of a density at the nodes. density, scale: with the error that is expected of it, [NODES].

    A position is expected to be wrong by its peak's width times the root of the density's error over its height above
    the sides; a weight by the root of the integral of the density's error.

    >>> density = np.exp(-0.5 * ((nodes() - 0.3) / 0.1) ** 2) + np.exp(-0.5 * ((nodes() + 0.5) / 0.1) ** 2)
    >>> found = node_peaks(density / density.sum() / STEP, np.full(len(density), 0.1), is_even=False)
    >>> found.positions.round(2), found.weights.round(2)
    (array([-0.5,  0.3]), array([0.5, 0.5]))
    """
    places, values, errors, cells = _counted(density, scale, is_even=is_even)
    padded = np.concatenate([[0.0], values, [0.0]])
    tops, found = find_peaks(padded, prominence=prominence * padded.max())
    heights = found["prominences"]
    sides = heights, found["left_bases"], found["right_bases"]
    widths = peak_widths(padded, tops, rel_height=0.5, prominence_data=sides)[0] * STEP
    tops = tops - 1
    between = [low + int(values[low : high + 1].argmin()) for low, high in pairwise(tops)]
    edges = np.array([0, *between, len(values)], dtype=np.intp)
    return NodePeaks(
        positions=_refined(padded, tops, places, is_even=is_even),
        weights=_sums(values * cells, edges),
        position_errors=LEAST_ERROR + widths * np.sqrt(errors[tops] / heights),
        weight_errors=np.sqrt(_sums(errors * cells, edges)),
        edges=edges,
        ends=np.concatenate([[0.0 if is_even else -1.0], places[edges[1:-1]] - STEP / 2, [1.0]]),
    )


def weights_between(density: Array, edges: NDArray[np.intp], *, is_even: bool) -> Array:
    """Return the integrals of another density, [NODES], between the edges of peaks, [p]."""
    _, values, _, cells = _counted(density, density, is_even=is_even)
    return _sums(values * cells, edges)


def _counted(density: Array, scale: Array, *, is_even: bool) -> tuple[Array, Array, Array, Array]:
    """Return nodes, density, expected error and widths of cells; of an even density of u >= 0, twice as large."""
    if not is_even:
        return nodes(), density, scale, weights(nodes())
    half = len(density) // 2  # u = 0 lies half a step below the first node kept
    cells = np.full(half, STEP)
    cells[-1] = STEP / 2
    return nodes()[half:], 2 * density[half:], 2 * scale[half:], cells


def _refined(padded: Array, tops: NDArray[np.intp], places: Array, *, is_even: bool) -> Array:
    """Return the maxima of the parabolas through each highest node and its neighbours."""
    left, top, right = padded[tops], padded[tops + 1], padded[tops + 2]
    curvature = left - 2 * top + right
    away = np.where(curvature < 0, 0.5 * (left - right) / np.where(curvature < 0, curvature, 1), 0)
    inside = (tops > 0) & (tops < len(places) - 1)
    found = places[tops] + np.where(inside, away, 0) * STEP
    return np.where(tops == 0, 0.0, found) if is_even else found


def _sums(values: Array, edges: NDArray[np.intp]) -> Array:
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.diff(total[edges])
