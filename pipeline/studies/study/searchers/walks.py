"""Searchers that go from a cell to one near it. They walk among tabulated cells, and so need no training.

A cell's neighbours are the tabulated ones at the smallest edit distance: in a table of a whole space those that differ
in one edge, in a part of one those that come nearest.
"""

from __future__ import annotations

from collections import deque

from pipeline.studies.study.searchers.bench import Trainings

FAR = 1 << 30  # no cell is at such a distance


def evolution(trainings: Trainings) -> int:
    """Let the best of a sample of the population have a child, and the oldest cell die (Real et al. 2019).

    The first population is drawn uniformly. A child is one of the nearest cells that were not trained before, drawn
    uniformly: a mutation of one edge where the table has it. All cells that ever lived can be chosen in the end.
    """
    population: deque[int] = deque()
    while trainings.can_train():
        is_full = len(population) == trainings.population
        cell = _child(trainings, list(population)) if is_full else trainings.draw()
        trainings.train(cell)
        population.append(cell)
        if is_full:
            population.popleft()
    return trainings.best()


def _child(trainings: Trainings, population: list[int]) -> int:
    sample = trainings.random.choice(population, size=trainings.sample, replace=False).tolist()
    parent = max(sample, key=lambda cell: trainings.seen[cell])
    distances = trainings.bench.distances(parent)
    distances[list(trainings.seen)] = FAR
    nearest = (distances == distances.min()).nonzero()[0]
    return int(trainings.random.choice(nearest))


def local_search(trainings: Trainings) -> int:
    """Train all neighbours of a cell, go on from the best while it is better, and then from a new random cell.

    White et al. (2021). A walk ends in a cell that is better than its neighbours, or with the budget.
    """
    while trainings.can_train():
        climb(trainings, trainings.draw())
    return trainings.best()


def climb(trainings: Trainings, start: int) -> int:
    """Walk from a cell to a local optimum, and return it; the cell that was reached where the budget ends before."""
    present, accuracy = start, trainings.train(start)
    while True:
        for cell in trainings.random.permutation(trainings.bench.neighbours(present)).tolist():
            if cell in trainings.seen or trainings.can_train():
                trainings.train(cell)
        known = [cell for cell in trainings.bench.neighbours(present).tolist() if cell in trainings.seen]
        best = max(known, key=lambda cell: trainings.seen[cell], default=present)
        if best == present or trainings.seen[best] <= accuracy:
            return present
        present, accuracy = best, trainings.seen[best]
