"""The front holds what no other dominates, and its hypervolume is the volume of a union of boxes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipeline.studies.pareto.front import BETTER_LARGE, hypervolume, on_front, reference_point
from tests.support.cells.front import cell

LARGEST = {"parameters": 1000, "macs": 2000}


def random_cells(count, seed=0):
    rng = np.random.default_rng(seed)
    return [cell(*rng.integers(0, 5, 2) / 4, *map(int, rng.integers(1, 6, 2) * 200)) for _ in range(count)]


def dominates(left, right):
    signs = [1 if better else -1 for better in BETTER_LARGE.values()]
    gains = [s * (a - b) for s, a, b in zip(signs, left.objectives, right.objectives, strict=True)]
    return min(gains) >= 0 and max(gains) > 0


def test_the_front_holds_exactly_what_no_other_dominates():
    for seed in range(20):
        cells = random_cells(30, seed)
        expected = [not any(dominates(other, each) for other in cells) for each in cells]
        assert on_front(cells) == expected
        assert any(expected)


def test_hypervolume_is_the_volume_of_a_union_of_boxes():
    reference = {"clean": 0.0, "robust": 0.0, "parameters": 1000.0, "macs": 2000.0}
    assert hypervolume([cell(0.5, 0.25, 200, 1000)], reference) == pytest.approx(0.5 * 0.25 * 0.8 * 0.5)
    for seed in range(5):
        cells = random_cells(4, seed)
        sides = np.array(
            [[c.clean.accuracy, c.robust.accuracy, 1 - c.parameters / 1000, 1 - c.macs / 2000] for c in cells]
        )
        expected = 0.0  # by inclusion and exclusion
        for count in range(1, 5):
            for some in itertools.combinations(sides, count):
                expected -= (-1) ** count * np.prod(np.min(some, axis=0))
        assert hypervolume(cells, reference) == pytest.approx(expected)


def test_hypervolume_grows_with_the_front_and_with_nothing_else():
    reference = reference_point(LARGEST)
    cells = random_cells(12, 3)
    whole = hypervolume(cells, reference)
    front = [each for each, kept in zip(cells, on_front(cells), strict=True) if kept]
    assert hypervolume(front, reference) == pytest.approx(whole)
    assert hypervolume(cells[::-1], reference) == pytest.approx(whole)
    assert 0 < whole < hypervolume([*cells, cell(1, 1, 100, 100)], reference) < 1
    largest = cell(0.5, 0.5, 1000, 2000)  # no larger network can be had, and yet it counts
    assert hypervolume([largest], reference) > 0
    assert hypervolume([replace(largest, parameters=1100)], reference) == 0
