"""The part of a study that a table answers alone, in seconds: its searchers, tests at equal cost, and its judges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.compute.seeds import stream_seed
from pipeline.options.judges import JUDGES
from pipeline.options.searchers import SEARCHERS
from pipeline.settings import StudySettings
from pipeline.studies.study.searchers.bench import Bench, Trainings
from pipeline.studies.study.searchers.costs import Cost
from pipeline.studies.study.statistics import interval, paired_p, rank_correlation
from pipeline.studies.study.study_file import Judgement, Outcome, PairedTest

DIGITS = 6  # of figures that are kept
SLACK = 0.01  # of a training: what rounding may add to a cost


def search_table(bench: Bench, settings: StudySettings, name: str, budget: float, seed: int) -> tuple[int, Cost]:
    """Let a searcher of SEARCHERS choose a cell within a budget of whole trainings; return it and what it cost."""
    own = stream_seed(seed, "study")
    trainings = Trainings(bench, budget, own, population=settings.population, sample=settings.sample)
    return SEARCHERS[name].load()(trainings), trainings.cost


def outcome(
    bench: Bench,
    name: str,
    label: str,
    means: Sequence[float],
    costs: Sequence[Cost],
    *,
    budget: int | None = None,
    uses_supernet: bool = False,
) -> Outcome:
    """Say where the chosen cells stand.  means, costs: one a seed."""
    return Outcome(
        searcher=name,
        label=label,
        uses_supernet=uses_supernet,
        budget=budget,
        accuracy=tuple(round(mean, DIGITS) for mean in means),
        percentile=tuple(round(bench.percentile(mean), DIGITS) for mean in means),
        regret=tuple(round(bench.regret(mean), DIGITS) for mean in means),
        passes=tuple(round(cost.passes, 1) for cost in costs),
        seconds=tuple(round(cost.seconds, 2) for cost in costs) if bench.table.header else (),
    )


def table_outcomes(bench: Bench, settings: StudySettings, seeds: Sequence[int]) -> Iterator[Outcome]:
    """Yield what each searcher of the table chooses with each budget that the table can hold."""
    for name in settings.searchers:
        option = SEARCHERS[name]
        for budget in [each for each in sorted(settings.budgets) if each <= len(bench)] if option.trains else [0]:
            found = [search_table(bench, settings, name, budget, seed) for seed in seeds]
            means = [float(bench.means[cell]) for cell, _ in found]
            yield outcome(bench, name, option.label, means, [cost for _, cost in found], budget=budget)


def equal_cost_tests(
    bench: Bench, settings: StudySettings, seeds: Sequence[int], outcomes: Sequence[Outcome]
) -> Iterator[PairedTest]:
    """Yield each outcome against the rival with the same seed and as many whole trainings as were paid for.

    study.equal says whether passes or seconds are counted. A part of a training is rounded up, and what trains nothing
    meets a rival of one: the draw goes to the rival.
    """
    unit = getattr(bench.mean_training, settings.equal)
    for found in outcomes:
        if found.searcher == settings.rival:
            continue
        rivals = []
        for seed, paid in zip(seeds, getattr(found, settings.equal), strict=True):
            budget = max(1, min(len(bench), math.ceil(paid / unit - SLACK)))
            cell, _ = search_table(bench, settings, settings.rival, budget, seed)
            rivals.append(round(float(bench.means[cell]), DIGITS))
        differences = np.subtract(found.accuracy, rivals)
        low, high = interval(differences)
        yield PairedTest(
            searcher=found.searcher,
            budget=found.budget,
            rival=settings.rival,
            difference=float(differences.mean()),
            low=low,
            high=high,
            p=paired_p(found.accuracy, rivals),
        )


def table_judgements(bench: Bench, settings: StudySettings) -> Iterator[Judgement]:
    """Yield how far each judge that reads the table agrees with the means of the cells inside the bounds."""
    for name in settings.judges:
        option = JUDGES[name]
        if option.reads == "table":
            scores = option.load()(bench.table)[bench.places]
            tau, low, high = rank_correlation(scores, bench.means)
            yield Judgement(judge=name, label=option.label, cells=len(bench), tau=tau, low=low, high=high)
