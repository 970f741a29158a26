"""Seconds of a method, for one spectrum alone and for a thousand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytic_continuation import GreensFunction, continue_spectra
from continuation_exam.methods import Method
from continuation_exam.problems import Problem

ALONE = 5  # spectra that are timed one by one
THOUSAND = 1000
BATCHED = "learned"


@dataclass(frozen=True)
class Timing:
    """Processor seconds of one core.  alone: median over some spectra.  thousand: of as many on one grid.

    is_batch: a thousand were computed together; else they are as many times the mean of a few.
    """

    method: str
    alone: float
    thousand: float
    is_batch: bool


def timings(name: str, method: Method, asked: Sequence[Problem]) -> Timing:
    """Time a method on problems of one grid."""
    method(asked[0])  # what is loaded or decomposed once
    step = max(1, len(asked) // ALONE)
    seconds = sorted(method(problem).seconds for problem in asked[::step][:ALONE])
    median = seconds[len(seconds) // 2]
    if name == BATCHED:
        return Timing(name, median, _of_thousand(asked[0]), is_batch=True)
    return Timing(name, median, THOUSAND * sum(seconds) / len(seconds), is_batch=False)


def _of_thousand(problem: Problem) -> float:
    """Continue a thousand draws of noise on the same data at once."""
    green, generator = problem.green, np.random.default_rng(0)
    noise = generator.normal(size=(2, THOUSAND, len(green.points))) * green.errors
    greens = [
        GreensFunction(green.points, green.values + drawn, green.errors, green.kernel, green.beta)
        for drawn in noise[0] + 1j * noise[1]
    ]
    started = time.process_time()
    continue_spectra(greens, problem.omega, norm=problem.norm)
    return time.process_time() - started
