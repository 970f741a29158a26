"""What benchmarks/ranking.py says of its figures."""

import pytest
import ranking

from pipeline.evaluation.accuracy import accuracy_of

NAMES = ("clean", *ranking.ATTACKS)


def results(images=100, **cells):
    """Cells by name: images right clean and under each attack."""
    return {
        cell: {name: accuracy_of(name, {}, [right], images, 0.0) for name, right in zip(NAMES, rights, strict=True)}
        for cell, rights in cells.items()
    }


def test_the_strongest_attack_is_the_one_that_leaves_least_and_may_tie():
    found = results(a=(90, 60, 59, 50), b=(90, 60, 50, 50), c=(90, 60, 49, 50))
    assert [ranking.is_strongest(rows) for rows in found.values()] == [True, True, False]


def test_a_ranking_is_contradicted_by_cells_that_change_places_and_not_by_a_tie():
    assert not ranking.contradictions(results(a=(90, 60, 60, 50), b=(95, 50, 50, 40)))
    assert not ranking.contradictions(results(a=(90, 60, 50, 50), b=(95, 50, 50, 40)))
    found = results(a=(90, 60, 60, 40), b=(95, 50, 50, 45))
    assert ranking.contradictions(found) == [("a", "b", "pgd-20", "autoattack"), ("a", "b", "pgd-100", "autoattack")]


@pytest.mark.parametrize(("images", "chance"), [(100, True), (10_000, False)])
def test_a_change_of_places_within_the_intervals_is_called_so(images, chance):
    share = images // 100
    cells = {
        "a": [90 * share, 55 * share, 55 * share, 40 * share],
        "b": [95 * share, 50 * share, 50 * share, 45 * share],
    }
    found = results(images, **cells)
    assert ranking.may_be_chance(found, "a", "b") == chance
    trainings = {cell: {name: [row] for name, row in rows.items()} for cell, rows in found.items()}
    text = ranking.report(trainings, {"a": 1000, "b": 1001}, "digits")
    assert "The attacks rank the cells alike: NO, a and b change places from pgd-20 to autoattack" in text
    assert ("within their intervals" in text) == chance
    assert ranking.apart(found, "autoattack") == [not chance]
    assert "| a | 1,000 | 90.0 (" in text


def test_several_trainings_count_by_their_mean_with_the_interval_of_the_images_that_all_met():
    trainings = {"a": {name: [accuracy_of(name, {}, [right], 100, 0.0) for right in (50, 60, 70)] for name in NAMES}}
    mean, one = ranking.means(trainings)["a"]["pgd-20"], accuracy_of("pgd-20", {}, [60], 100, 0.0)
    assert (mean.accuracy, mean.low, mean.high) == (0.6, one.low, one.high)
    text = ranking.report(trainings, {"a": 1000}, "digits")
    assert f"60.0 ± 10.0 ({100 * one.low:.1f} to {100 * one.high:.1f})" in text
