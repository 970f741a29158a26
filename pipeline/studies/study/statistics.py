"""The arithmetic of a study: intervals by bootstrap, paired tests of searchers, and rank correlations of judges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, kendalltau, wilcoxon

from pipeline.studies.tables.table import Floats

RESAMPLES = 1000
CONFIDENCE = 0.95


def interval(values: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of the mean, by the percentiles of means of resampled values.

    >>> interval([2.0, 2.0, 2.0])
    (2.0, 2.0)
    """
    found = bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def paired_p(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test of paired values; 1 where no pair differs.

    >>> round(paired_p([2, 3, 4, 5, 6, 7], [1, 1, 1, 1, 1, 1]), 3)
    0.031
    """
    differences = np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences).pvalue)


def rank_correlation(scores: Floats, means: Floats) -> tuple[float, float, float]:
    """Return Kendall's tau-b of scores [cells, trainings] with means [cells], and its 95 % interval over cells.

    It is the mean over the columns, each of which a single look at every cell gives. 0 of scores that are all the same.
    """

    def mean_tau(places: NDArray[np.int64]) -> float:
        return float(np.mean([_tau(column[places], means[places]) for column in scores.T]))

    generator = np.random.default_rng(0)
    count = len(means)
    resampled = [mean_tau(generator.integers(count, size=count)) for _ in range(RESAMPLES // 5)]
    low, high = np.quantile(resampled, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return mean_tau(np.arange(count)), float(low), float(high)


def _tau(scores: Floats, means: Floats) -> float:
    if np.ptp(scores) == 0 or np.ptp(means) == 0:
        return 0.0
    return float(kendalltau(scores, means).statistic)
