"""Whether the bands of peaks hold the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.signal import find_peaks

from analytic_continuation import Peak
from continuation_exam.problems import Problem

PROMINENCE = 0.01  # of the highest value, above which a maximum of the truth counts


def true_positions(problem: Problem) -> NDArray[np.float64]:
    """Return the frequencies of the truth's maxima; the middles of flat ones.

    Spectra of bosons are even, so that one that falls from w = 0 on has its maximum there.
    """
    padded = np.concatenate([[0.0], problem.truth, [0.0]])
    tops, _ = find_peaks(padded, prominence=PROMINENCE * padded.max())
    return problem.omega[tops - 1]


def held_peaks(problem: Problem, peaks: Sequence[Peak]) -> tuple[float, float]:
    """Return the parts of peaks whose bands hold a true position, and the true weight between their ends.

    A single peak weighs all there is, and does not count for the weights.
    """
    if not peaks:
        return math.nan, math.nan
    places, positions, weights = true_positions(problem), [], []
    for peak in peaks:
        low, high = peak.position_band
        positions.append(bool(np.any((places >= low) & (places <= high))))
        fine = np.linspace(*peak.ends, 2001)
        weight = trapezoid(np.interp(fine, problem.omega, problem.truth), fine)
        weights.append(peak.weight_band[0] <= weight <= peak.weight_band[1])
    return float(np.mean(positions)), float(np.mean(weights)) if len(weights) > 1 else math.nan
