"""Searchers that take cells as they come: none trained, all trained in full, or few to their end."""

from __future__ import annotations

from pipeline.studies.study.searchers.bench import Bench, Trainings

ETA = 3  # of cells that are halved, one in so many goes on, for so many times the epochs


def random_cell(trainings: Trainings) -> int:
    """Choose a cell drawn uniformly; nothing is trained."""
    return trainings.order[0]


def largest(trainings: Trainings, quantity: str) -> int:
    """Choose the cell of the most parameters or MACs inside the bounds; nothing is trained. Ties are drawn."""
    return max(trainings.order, key=lambda cell: int(getattr(trainings.bench.entries[cell], quantity)))


def random_search(trainings: Trainings) -> int:
    """Train cells in the order of the draw while the budget lasts, and choose the best on validation images."""
    while trainings.can_train():
        trainings.train(trainings.draw())
    return trainings.best()


def successive_halving(trainings: Trainings) -> int:
    """Train as many cells as the budget pays for up to each rung of epochs, a third of them up to the next one.

    Jamieson & Talwalkar (2016), with the schedule of a whole training. The cells of the last rung are trained to their
    end, and the best of them on validation images is chosen.
    """
    rungs = rungs_of(trainings.bench.passes.epochs)
    count = most_cells(trainings.bench, rungs, trainings.budget)
    alive: list[int] = trainings.order[:count]
    for rung, following in zip(rungs, survivors(count, len(rungs))[1:], strict=False):
        if following < len(alive):
            seen = {cell: trainings.train_until(cell, rung) for cell in alive}
            alive = sorted(alive, key=lambda cell: -seen[cell])[:following]
    for cell in alive:
        trainings.train(cell)
    return trainings.best()


def rungs_of(epochs: int) -> list[int]:
    """Return after how many epochs cells are compared, the last of them all.

    >>> rungs_of(12)
    [1, 4, 12]
    """
    return sorted({max(1, epochs // ETA**2), max(1, epochs // ETA), epochs})


def survivors(count: int, rungs: int) -> list[int]:
    """Return how many cells train up to each rung.

    >>> survivors(20, 3)
    [20, 6, 2]
    """
    return [max(1, count // ETA**rung) for rung in range(rungs)]


def most_cells(bench: Bench, rungs: list[int], budget: float) -> int:
    """Return with how many cells halving begins, so that all rungs together stay within the budget; at least one."""
    affordable = (
        count
        for count in range(len(bench), 1, -1)
        if _trainings_of(bench, rungs, survivors(count, len(rungs))) <= budget + 1e-9
    )
    return next(affordable, 1)


def _trainings_of(bench: Bench, rungs: list[int], counts: list[int]) -> float:
    """Return what halving costs, in whole trainings: a cell is looked at where not all of its rung go on."""
    passes, before, total = bench.passes, 0, 0.0
    for rung, cells, following in zip(rungs, counts, [*counts[1:], 0], strict=True):
        total += cells * (rung - before) * passes.epoch
        if following < cells:
            total += cells * (passes.validation if rung == rungs[-1] else passes.glance)
        before = rung
    return total / passes.whole
