"""A study's tables as text: what each searcher chose and paid, and how well each judge ranks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.options.searchers import SEARCHERS
from pipeline.presentation.words import counted, percent
from pipeline.studies.study.statistics import interval
from pipeline.studies.study.study_file import Outcome, PairedTest, StudyFile

SMALLEST_P = 1e-3


class OutcomeRow(NamedTuple):
    """One line of the table of searchers; each text as it is shown."""

    label: str
    trainings: str
    seconds: str
    accuracy: str
    percentile: str
    regret: str
    difference: str
    p: str
    uses_supernet: bool


def outcome_rows(study: StudyFile) -> Iterator[OutcomeRow]:
    """Yield a line for each searcher and budget, as the study has them."""
    tests = {(test.searcher, test.budget): test for test in study.tests}
    for found in study.outcomes:
        test = tests.get((found.searcher, found.budget))
        yield OutcomeRow(
            label=found.label,
            trainings=f"{np.mean(found.passes) / study.table.training_passes:.1f}",
            seconds=f"{np.mean(found.seconds):,.0f}" if found.seconds else "-",
            accuracy=percent(float(np.mean(found.accuracy))),
            percentile=_with_interval(found.percentile, 1),
            regret=_with_interval(found.regret, 100),
            difference="" if test is None else _difference(test),
            p="" if test is None else p_in_words(test.p),
            uses_supernet=found.uses_supernet,
        )


def judge_rows(study: StudyFile) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, cells, tau and its interval of each judge, the best first."""
    for each in sorted(study.judgements, key=lambda judgement: -judgement.tau):
        cells = counted(each.cells, "cell") + (f", {counted(each.supernets, 'supernet')}" if each.supernets else "")
        yield each.label, cells, f"{each.tau:+.2f}", f"{each.low:+.2f} to {each.high:+.2f}"


def lead(study: StudyFile) -> str:
    """Say what was studied, in a sentence or two."""
    table = study.table
    by_others = " by others, who published them" if table.published else ""
    seen = "the same images" if table.published else "validation images"
    return (
        f"{study.seeds} searches of each kind on {table.cells:,} cells trained on {table.data}{by_others}. A cell that "
        f"is chosen is judged by its mean accuracy under {table.attack} on test images over "
        f"{counted(table.trainings, 'training')}; a searcher sees one training's accuracy on {seen}."
    )


def tiles(study: StudyFile) -> Iterator[tuple[str, str, str]]:
    """Yield what, how much, and what to hold beside it."""
    table, best = study.table, best_outcome(study)
    noise = "" if table.deviation is None else f", one training ± {100 * table.deviation:.1f}"
    yield "Best cell", percent(table.best), f"median {percent(table.median)}{noise}"
    yield (
        "Highest percentile",
        f"{np.mean(best.percentile):.1f}",
        f"{best.label}, {np.mean(best.passes) / table.training_passes:.0f} trainings",
    )
    if table.training_seconds is not None:
        yield "A whole training", f"{table.training_passes:,.0f} passes", f"{table.training_seconds:.1f} s of one core"


def best_outcome(study: StudyFile) -> Outcome:
    """Return the outcome of the highest mean percentile; of equal ones the cheapest."""
    return max(study.outcomes, key=lambda each: (np.mean(each.percentile), -np.mean(each.passes)))


def rival_label(study: StudyFile) -> str:
    """Return how people call what others are tested against."""
    names = {test.rival for test in study.tests}
    return " ".join(SEARCHERS[name].label if name in SEARCHERS else name for name in sorted(names))


def p_in_words(p: float) -> str:
    """Write a p value: 0.0042 as ".004".

    >>> [p_in_words(p) for p in (1.0, 0.0424, 0.00001)]
    ['1', '.042', '< .001']
    """
    return f"< {SMALLEST_P:.3f}".replace("0.", ".") if p < SMALLEST_P else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def _with_interval(values: tuple[float, ...], factor: float) -> str:
    low, high = interval(values)
    return f"{factor * np.mean(values):.1f} [{factor * low:.1f}, {factor * high:.1f}]"


def _difference(test: PairedTest) -> str:
    return f"{100 * test.difference:+.1f} [{100 * test.low:+.1f}, {100 * test.high:+.1f}]"
