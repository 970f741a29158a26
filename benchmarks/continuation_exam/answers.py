"""Answers of a method, kept as JSON lines, so that a run which was stopped goes on with the next problem."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analytic_continuation import Peak
from continuation_exam.peaks import held_peaks
from continuation_exam.problems import Problem


@dataclass(frozen=True)
class Answer:
    """What a method gave for a problem.

    method: its name, with the model that it used where there is one.  error: as `Problem.error`; infinite where it
    failed.  covered: part of the frequencies at which the band holds the truth, nan without a band.
    positions_held, weights_held: parts of the peaks whose bands hold the truth.
    seconds: of one core.  values: the spectrum, [m], of the first of a family alone.
    """

    problem: str
    method: str
    error: float
    covered: float
    chi_squared_per_point: float
    seconds: float
    values: tuple[float, ...] = ()
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    positions_held: float = math.nan
    weights_held: float = math.nan


def judged(
    problem: Problem,
    method: str,
    values: NDArray[np.float64],
    seconds: float,
    *,
    band: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    chi_squared: float = math.nan,
    peaks: Sequence[Peak] = (),
) -> Answer:
    """Judge a spectrum [m] by the truth. Frequencies count for the band where the truth is above 1 % of its maximum."""
    is_shown = problem.spectrum.index == 0
    covered = math.nan
    if band is not None:
        counted = np.abs(problem.truth) > 0.01 * np.abs(problem.truth).max()
        holds = (band[0] <= problem.truth) & (problem.truth <= band[1])
        covered = float(holds[counted].mean())
    lower, upper = (_rounded(end) for end in band) if band is not None and is_shown else ((), ())
    kept = _rounded(values) if is_shown else ()
    held = held_peaks(problem, peaks)
    return Answer(problem.name, method, problem.error(values), covered, chi_squared, seconds, kept, lower, upper, *held)


def failed(problem: Problem, method: str, seconds: float) -> Answer:
    """A method that gave no spectrum."""
    return Answer(problem.name, method, math.inf, math.nan, math.nan, seconds)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.5g}") for value in values)


class KeptAnswers:
    """Answers by problem and method, kept in a file; a line that a killed process left half is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers = {(one.problem, one.method): one for one in _read(path)} if path.exists() else {}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._answers

    def __getitem__(self, key: tuple[str, str]) -> Answer:
        return self._answers[key]

    def add(self, answer: Answer) -> None:
        """Keep an answer, in the file too."""
        self._answers[answer.problem, answer.method] = answer
        self._path.parent.mkdir(parents=True, exist_ok=True)
        half = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("a") as file:
            file.write("\n" * half + json.dumps(asdict(answer)) + "\n")


def _read(path: Path) -> Iterator[Answer]:
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
            lists = {name: tuple(row.pop(name)) for name in ("values", "lower", "upper")}
            yield Answer(**row, **lists)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
