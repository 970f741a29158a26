"""The arithmetic of a comparison: means and their errors, the front, and how far two rankings agree."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import f, kendalltau, spearmanr, ttest_ind

OF_THE_SPACE = SEARCHED, PREDICTOR, RANDOM_SEARCH, RANDOM = ("searched", "predictor", "random search", "random")
BROUGHT = PUBLISHED_KIND, CONTROL = ("published", "hand-made")
"""Kinds of cells that are not of the space; their networks have channels of their own."""
KINDS = OF_THE_SPACE + BROUGHT
SMALLEST_SPREAD = 1e-9  # deviation that is none but for rounding


@dataclass(frozen=True)
class CellResult:
    """One cell after its retrainings.

    parameters, macs: of its network.  accuracies: attack (or clean) -> one accuracy a retraining.
    judgements: accuracy under attack in the supernet of each search; empty when the cell is not of the space.
    genotype: as its file holds it.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    accuracies: Mapping[str, tuple[float, ...]]
    judgements: tuple[float, ...] = ()
    genotype: Mapping[str, Any] = field(default_factory=dict)

    def accuracy(self, attack: str) -> float:
        """Return the mean over its retrainings."""
        return statistics.fmean(self.accuracies[attack])

    def deviation(self, attack: str) -> float:
        """Sample standard deviation over its retrainings; NaN of one."""
        return deviation(self.accuracies[attack])

    @property
    def judgement(self) -> float:
        """Return the mean over the supernets."""
        return statistics.fmean(self.judgements)


@dataclass(frozen=True)
class Mean:
    """Mean of independent values, and its standard error: sample standard deviation / sqrt(n); NaN of one value."""

    value: float
    error: float


@dataclass(frozen=True)
class MeanDifference:
    """Difference of two means of independent values, its standard error, and Welch's two-sided p; NaN of one value."""

    value: float
    error: float
    p: float


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of two measurements of the same cells, with two-sided p values; NaN where one is constant."""

    cells: int
    kendall: float
    kendall_p: float
    spearman: float
    spearman_p: float


@dataclass(frozen=True)
class SeedAnova:
    """Whether retrainings tell cells apart: an analysis of variance of several retrainings of each, by cell and seed.

    Cells share their seeds, which set the order of images; what a seed does to all cells alike tells none apart.
    within: deviation of one cell's retrainings beside that, over all cells.  between: deviation of the cells' means.
    by_chance: what `between` would be if all cells were equal.  f, p: of the test that they are.
    """

    within: float
    between: float
    by_chance: float
    f: float
    p: float


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN of one value."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def mean(values: Sequence[float]) -> Mean:
    """Return the mean and standard error."""
    return Mean(statistics.fmean(values), deviation(values) / math.sqrt(len(values)))


def of_kind(standings: Sequence[CellResult], kind: str) -> list[CellResult]:
    """Return the cells of one kind."""
    return [standing for standing in standings if standing.kind == kind]


def mean_difference(standings: Sequence[CellResult], attack: str, over: str = RANDOM) -> MeanDifference:
    """Mean accuracy of the searched cells minus that of another kind; a cell counts once, by its own mean."""
    values = [[standing.accuracy(attack) for standing in of_kind(standings, kind)] for kind in (SEARCHED, over)]
    searched, others = map(mean, values)
    error = math.hypot(searched.error, others.error)
    p = math.nan if math.isnan(error) or error < SMALLEST_SPREAD else float(ttest_ind(*values, equal_var=False).pvalue)
    return MeanDifference(searched.value - others.value, error, p)


def seed_anova(standings: Sequence[CellResult], attack: str) -> SeedAnova | None:
    """Analyse the variance of random cells, which nothing chose; None unless retrained equally often, and twice.

    None, too, where nothing but cells and seeds makes a difference: there is no error to measure cells by.
    """
    groups = [standing.accuracies[attack] for standing in of_kind(standings, RANDOM)]
    cells, count = len(groups), min(map(len, groups))
    if cells < 2 or count < 2 or count < max(map(len, groups)):
        return None
    table = np.array(groups)
    of_cells, of_seeds = table.mean(axis=1), table.mean(axis=0)
    rest = table - of_cells[:, None] - of_seeds + table.mean()
    freedom = (cells - 1) * (count - 1)
    within, between = math.sqrt((rest**2).sum() / freedom), float(of_cells.std(ddof=1))
    if within < SMALLEST_SPREAD:
        return None
    by_chance = within / math.sqrt(count)
    ratio = (between / by_chance) ** 2
    return SeedAnova(within, between, by_chance, ratio, float(f.sf(ratio, cells - 1, freedom)))


def beaten(standing: CellResult, others: Sequence[CellResult], attack: str, size: str) -> int:
    """Return how many others are at least as good in accuracy and in size ("parameters", "macs"), and better in one."""
    mine = (-standing.accuracy(attack), getattr(standing, size))
    theirs = [(-other.accuracy(attack), getattr(other, size)) for other in others]
    return sum(a <= mine[0] and b <= mine[1] and (a, b) != mine for a, b in theirs)


def agreement(standings: Sequence[CellResult], attack: str) -> Agreement | None:
    """Correlate the supernets' judgement with the accuracy after retraining; None of fewer than three judged cells.

    Cells from outside the space are left out: their networks have other channels. Kendall's tau-b and Spearman's rho.
    """
    judged = [standing for standing in standings if standing.judgements and standing.kind in OF_THE_SPACE]
    if len(judged) < 3:
        return None
    pairs = [standing.judgement for standing in judged], [standing.accuracy(attack) for standing in judged]
    if any(len(set(values)) == 1 for values in pairs):  # no ranking in it, and scipy warns
        return Agreement(len(judged), *[math.nan] * 4)
    tau, rho = kendalltau(*pairs), spearmanr(*pairs)
    return Agreement(len(judged), *(float(x) for x in (tau.statistic, tau.pvalue, rho.statistic, rho.pvalue)))
