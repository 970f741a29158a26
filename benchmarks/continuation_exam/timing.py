"""Seconds of a method, for one spectrum alone and for a thousand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from continuation_exam.methods import Method
from continuation_exam.problems import Problem

ALONE = 5  # spectra that are timed one by one


@dataclass(frozen=True)
class Timing:
    """Processor seconds of one core.  alone: median over some spectra.  thousand: of as many on one grid."""

    method: str
    alone: float
    thousand: float


def timings(name: str, method: Method, asked: Sequence[Problem]) -> Timing:
    """Time a method; a thousand spectra are as many calls, and taken from fewer where these take long."""
    method(asked[0])  # what is loaded or decomposed once
    step = max(1, len(asked) // ALONE)
    seconds = sorted(method(problem).seconds for problem in asked[::step][:ALONE])
    return Timing(name, seconds[len(seconds) // 2], 1000 * sum(seconds) / len(seconds))
