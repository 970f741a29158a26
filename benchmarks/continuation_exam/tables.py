"""Tables of the exam, and what was reached of its aims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import record
from numpy.typing import NDArray

from continuation_exam.answers import Answer
from continuation_exam.methods import PEER, PEER_SECONDS
from continuation_exam.problems import Problem, score
from continuation_exam.spectra import CONTROL
from continuation_exam.timing import Timing

WHAT_IS_MEANT = (
    "Score: sum of max(0, 1 - error) over spectra, with error = integral of |A - answer| over that of |A|; the mean "
    "error is in brackets, each error counted as 1 at most. Noise is the standard deviation of a value over its "
    "modulus, and every method is given the true error bars. Part ACT has the kinds of spectra and numbers of peaks of "
    "ACT100, with places, widths and heights drawn here: beta 20, 10 Matsubara points, 801 frequencies (401 for "
    "bosons, whose spectra are even). Unseen: beta 10, 32 points, 401 frequencies; its Gaussians are the control, of "
    "the kind that networks train on. All are told that a Green's function has weight 1, ana_cont by its flat default "
    f"model; where ana_cont overflows, fails or takes more than {PEER_SECONDS:g} s, other settings are tried once. "
    "Off-diagonal spectra (rise and decay) have both signs: methods of this project continue them with a known "
    "positive background, which is taken off again (positive=False); ana_cont has an option for them (offdiag)."
)
BANDS = (
    "Part of the frequencies at which the 90 % band holds the truth, of peaks whose band of the position holds a "
    "maximum of it and, in spectra with several peaks, of those whose band of the weight "
    "holds its integral between their ends:"
)
COVERED = ("covered", "positions_held", "weights_held")
MAXENT, LEARNED, NEURAL = "maxent", "learned", "maxent_neural"


@dataclass(frozen=True)
class Results:
    """Problems, and the answers of each method in their order."""

    problems: Sequence[Problem]
    answers: Mapping[str, Sequence[Answer]]

    def errors(self, method: str, part: str, noise: float, family: str | None = None) -> NDArray[np.float64]:
        """Return the errors of a method on some problems."""
        return np.array([answer.error for answer in self.of(method, part, noise, family)])

    def of(self, method: str, part: str, noise: float, family: str | None = None) -> list[Answer]:
        """Return the answers of a method to some problems."""
        return [
            answer
            for problem, answer in zip(self.problems, self.answers[method], strict=True)
            if (problem.part, problem.noise) == (part, noise) and family in (None, problem.spectrum.family)
        ]

    def groups(self) -> Iterator[tuple[str, float]]:
        """Yield part and noise of all problems, each once."""
        yield from dict.fromkeys((problem.part, problem.noise) for problem in self.problems)

    def families(self, part: str) -> list[str]:
        """Return the families of a part."""
        return list(dict.fromkeys(one.spectrum.family for one in self.problems if one.part == part))


def report(results: Results, times: Sequence[Timing], seed: int) -> str:
    """All tables, with a line on what is meant, and the aims."""
    return "\n\n".join(
        [
            f"{len(results.problems)} problems, spectra of seed {seed}. {WHAT_IS_MEANT}",
            *("## Score by part", by_part(results)),
            *("## Score by family", by_family(results)),
            *("## Seconds", seconds(times)),
            *("## Bands", BANDS, bands(results)),
            *("## Aims", "\n".join(f"- {line}" for line in aims(results, times))),
        ]
    )


def _shown(errors: NDArray[np.float64]) -> str:
    failures = int(np.isinf(errors).sum())
    lost = f", {failures} failed" if failures else ""
    return f"{score(errors):.1f} of {len(errors)} ({np.minimum(errors, 1).mean():.2f}{lost})"


def by_part(results: Results) -> str:
    """Scores of each method on each part and noise."""
    rows = [
        [part, f"{noise:g}", *(_shown(results.errors(method, part, noise)) for method in results.answers)]
        for part, noise in results.groups()
    ]
    return record.table(["part", "noise", *results.answers], rows)


def by_family(results: Results) -> str:
    """Scores of each method on each family and noise."""
    rows = [
        [f"{part}: {family}", f"{noise:g}"]
        + [_shown(results.errors(method, part, noise, family)) for method in results.answers]
        for part, noise in results.groups()
        for family in results.families(part)
    ]
    return record.table(["family", "noise", *results.answers], rows)


def seconds(times: Sequence[Timing]) -> str:
    """Seconds of one core, on the last part's data; from fewer, where a method has no call for many."""
    rows = [
        [each.method, f"{each.alone:.3g}", f"{each.thousand:.3g}" + ("" if each.is_batch else ", from fewer")]
        for each in times
    ]
    return record.table(["method", "one spectrum", "a thousand"], rows)


def bands(results: Results) -> str:
    """Mean coverage of each method that has a band, by family and noise."""
    rows = []
    for method in results.answers:
        for part, noise in results.groups():
            for family in results.families(part):
                found = results.of(method, part, noise, family)
                cells = [_covered([getattr(each, kind) for each in found]) for kind in COVERED]
                if any(cells):
                    rows.append([method, f"{part}: {family}", f"{noise:g}", *(cell or "-" for cell in cells)])
    header = ["method", "family", "noise", "frequencies", "positions", "weights"]
    return record.table(header, rows) if rows else "No method gives one yet."


def _covered(parts: Sequence[float]) -> str:
    known = [part for part in parts if not math.isnan(part)]
    return f"{100 * sum(known) / len(known):.0f} %" if known else ""


def aims(results: Results, times: Sequence[Timing]) -> Iterator[str]:
    """Say of each aim whether it was reached, with its figures; of what was not run, that it was not."""
    own = [method for method in (LEARNED, NEURAL) if method in results.answers]
    if not own:
        yield "The learned methods were not run."
        return
    if PEER in results.answers:
        for part, noise in results.groups():
            yield _beside_peer(results, own, part, noise)
    else:
        yield f"{PEER} was not run."
    yield from _beside_maxent(results)
    alone = {each.method: each.alone for each in times}
    if {LEARNED, MAXENT} <= alone.keys():
        ratio = alone[MAXENT] / alone[LEARNED]
        is_reached = alone[LEARNED] < 0.01 and ratio >= 50
        yield (
            f"{_reached(is_reached)}: a learned spectrum alone takes {1000 * alone[LEARNED]:.1f} ms (aim: below 10), "
            f"{ratio:.0f} times less than our MaxEnt (aim: 50); {_of_a_thousand(times)}."
        )


def _of_a_thousand(times: Sequence[Timing]) -> str:
    seconds = {each.method: each.thousand for each in times}
    return f"one of a thousand together {seconds[LEARNED]:.1f} ms, {seconds[MAXENT] / seconds[LEARNED]:.0f} times less"


def _reached(is_reached: bool) -> str:
    return "Reached" if is_reached else "Not reached"


def _beside_peer(results: Results, own: Sequence[str], part: str, noise: float) -> str:
    scores = {method: score(results.errors(method, part, noise)) for method in (*own, PEER)}
    best = max(own, key=lambda method: scores[method])
    return (
        f"{_reached(scores[best] > scores[PEER])}: above ana_cont on {part} at noise {noise:g}: {best} "
        f"{scores[best]:.1f}, ana_cont {scores[PEER]:.1f}."
    )


def _beside_maxent(results: Results) -> Iterator[str]:
    if not {LEARNED, MAXENT} <= results.answers.keys():
        return
    for part, noise in results.groups():
        if part != "unseen":
            continue
        error = {method: float(results.errors(method, part, noise, CONTROL).mean()) for method in results.answers}
        if noise >= 1e-4:
            ratio = error[LEARNED] / error[MAXENT]
            yield (
                f"{_reached(ratio <= 0.6)}: the learned error is {ratio:.2f} of flat MaxEnt's on the control at noise "
                f"{noise:g} (aim: at most 0.6): {error[LEARNED]:.3f} and {error[MAXENT]:.3f}."
            )
        if NEURAL in error:
            whole = {name: float(np.minimum(results.errors(name, part, noise), 1).mean()) for name in error}
            better = min(whole[LEARNED], whole[MAXENT])
            yield (
                f"{_reached(whole[NEURAL] <= better)}: MaxEnt with the neural default is as good as its better parent "
                f"on {part} at noise {noise:g}: mean errors {whole[NEURAL]:.3f} and {better:.3f}."
            )
