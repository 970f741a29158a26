"""Which cells a comparison tells apart: by least squares, Welch, and ranks."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from pipeline.studies.comparison.comparison_statistics import (
    agreement,
    beaten,
    mean,
    mean_difference,
    seed_anova,
)
from tests.support.cells.compared import cell


def told_apart(accuracies):
    """What is found of random cells; accuracies: [cells, seeds]."""
    cells = [cell("random", tuple(row)) for row in accuracies]
    return seed_anova([*cells, cell("searched", (0.9,))], "pgd-20")


def test_cells_that_are_equal_are_not_told_apart_and_cells_that_differ_are():
    generator = np.random.default_rng(0)
    noise, cells = 0.02 * generator.standard_normal((10, 3)), generator.standard_normal((10, 1))
    equal, different = (told_apart(0.3 + spread * cells + noise) for spread in (0.0, 0.05))
    assert equal.p > 0.05 > 1e-4 > different.p
    assert equal.f < 3 < different.f
    for found in (equal, different):
        assert found.within == pytest.approx(0.02, rel=0.35)
        assert found.by_chance == pytest.approx(found.within / 3**0.5)
        assert found.f == pytest.approx((found.between / found.by_chance) ** 2)


def test_what_a_seed_does_to_all_cells_tells_none_apart():
    generator = np.random.default_rng(0)
    accuracies = 0.3 + 0.02 * generator.standard_normal((10, 3))
    expected, found = told_apart(accuracies), told_apart(accuracies + np.array([0.0, 0.1, -0.1]))
    assert astuple(found) == pytest.approx(astuple(expected))


def test_cells_are_told_apart_as_by_least_squares():
    generator = np.random.default_rng(1)
    accuracies = 0.3 + 0.02 * generator.standard_normal((6, 4)) + 0.03 * generator.standard_normal((6, 1))
    row, column = np.indices(accuracies.shape).reshape(2, -1)
    seeds, cells = np.eye(4)[column], np.eye(6)[row]
    without, full = (
        accuracies.ravel() - design @ np.linalg.lstsq(design, accuracies.ravel())[0]
        for design in (seeds, np.hstack([seeds, cells]))
    )
    error = full @ full / 15
    found = told_apart(accuracies)
    assert found.f == pytest.approx((without @ without - full @ full) / 5 / error)
    assert found.within == pytest.approx(error**0.5)
    assert found.p == pytest.approx(stats.f.sf(found.f, 5, 15))


@pytest.mark.parametrize(
    "accuracies",
    [
        [(0.1,), (0.2,)],
        [(0.1, 0.2), (0.2, 0.1, 0.3)],
        [(0.1, 0.2)],
        [(0.1, 0.2), (0.2, 0.3)],
    ],
    ids=["once each", "not equally often", "one cell", "no error"],
)
def test_some_retrainings_cannot_say_whether_cells_differ(accuracies):
    assert told_apart(accuracies) is None


def test_the_gain_and_its_error_are_those_of_welch():
    rng = np.random.default_rng(0)
    searched, random = rng.uniform(size=3), rng.uniform(size=10)
    found = mean_difference([*(cell("searched", x) for x in searched), *(cell("random", x) for x in random)], "pgd-20")
    welch = stats.ttest_ind(searched, random, equal_var=False)
    assert found.value == pytest.approx(searched.mean() - random.mean())
    assert found.value / found.error == pytest.approx(welch.statistic)
    assert found.p == pytest.approx(welch.pvalue)


def test_a_cell_counts_once_however_often_it_was_retrained():
    once = [cell("searched", 0.5), cell("searched", 0.7), cell("random", 0.4), cell("random", 0.2)]
    twice = [cell("searched", [0.4, 0.6]), cell("searched", [0.7, 0.7]), *once[2:]]
    assert astuple(mean_difference(twice, "pgd-20")) == pytest.approx(astuple(mean_difference(once, "pgd-20")))
    assert twice[0].deviation("pgd-20") == pytest.approx(np.std([0.4, 0.6], ddof=1))


def test_the_error_of_one_value_is_unknown():
    assert math.isnan(mean([0.5]).error)
    assert mean([1.0, 3.0]).error == pytest.approx(stats.sem([1.0, 3.0]))
    lone = mean_difference([cell("searched", 0.5), cell("random", 0.4), cell("random", 0.2)], "pgd-20")
    assert (math.isnan(lone.error), math.isnan(lone.p)) == (True, True)


def test_a_cell_is_beaten_by_those_that_are_no_worse_and_somewhere_better():
    mine = cell("searched", 0.5, parameters=100)
    others = [
        cell("random", 0.5, parameters=100),  # the same
        cell("random", 0.6, parameters=101),  # larger
        cell("random", 0.4, parameters=50),  # less robust
        cell("random", 0.5, parameters=99),
        cell("random", 0.6, parameters=100),
    ]
    assert beaten(mine, others, "pgd-20", "parameters") == 2


def test_the_rank_correlation_is_scipys_over_searched_and_random_cells():
    rng = np.random.default_rng(1)
    judged, robust = rng.uniform(size=8), rng.uniform(size=8)
    kinds = ["searched"] * 3 + ["random"] * 5
    cells = [cell(kind, y, judgements=(x - 0.1, x + 0.1)) for kind, x, y in zip(kinds, judged, robust, strict=True)]
    found = agreement([*cells, cell("published", 0.1, judgements=(0.9,)), cell("random", 0.5)], "pgd-20")
    assert found.cells == 8
    assert found.kendall == pytest.approx(stats.kendalltau(judged, robust).statistic)
    assert found.spearman == pytest.approx(np.corrcoef(stats.rankdata(judged), stats.rankdata(robust))[0, 1])
    assert agreement(cells[:2], "pgd-20") is None
    assert math.isnan(agreement([cell("random", y, judgements=(0.5,)) for y in robust], "pgd-20").kendall)
