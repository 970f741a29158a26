"""A table as searchers see it: trainings that cost and show one seed's validation accuracy, and neighbours of cells."""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.search.selection.accuracy_model import edges_held
from pipeline.studies.study.searchers.costs import ONE_TRAINING, Cost, training_passes
from pipeline.studies.tables.table import Entry, Interval, Table, percentile_among
from search_space import canonical_form

Integers = NDArray[np.int64]
DIGITS = 9  # of a mean: equal counts in another order of trainings are equal


class Bench:
    """The cells of a table inside the bounds, numbered from 0, and what each would show a searcher.

    left_out: canonical forms of cells that are none of them.

    places: of the cells in the table.  accuracies: on validation images under the table's attack, [cells, trainings].
    curves: the same under the recipe's PGD after each epoch, [cells, epochs, trainings].
    means: on test images, over all trainings, [cells]: what a chosen cell is judged by, and no searcher sees.
    held: 1 for each edge, with its operation, that a cell holds, else 0, [cells, distinct edges].
    Raises ValueError where fewer than two cells are inside.
    """

    def __init__(self, table: Table, within: Mapping[str, Interval], left_out: Container[str] = ()) -> None:
        inside = table.inside(within)
        places = [place for place in inside if canonical_form(table[place].genotype) not in left_out]
        if len(places) < 2:
            left = " that study.leave_out leaves" if len(inside) > len(places) else ""
            raise ValueError(f"{len(places)} of the {len(table):,} cells of the table{left} are inside {dict(within)}")
        self.table, self.within, self.places = table, within, places
        self.entries: list[Entry] = [table[place] for place in places]
        self.accuracies = table.accuracies(part="validation")[places]
        self.curves = np.stack([entry.robust for entry in self.entries])
        self.means = np.round(table.means[places], DIGITS)
        self.trainings = self.accuracies.shape[1]
        self.passes = training_passes(table.header, table.attack) if table.header else ONE_TRAINING
        self._seconds_a_pass = np.array([entry.seconds for entry in self.entries]) / (
            self.trainings * self.passes.tabulated
        )
        self._edges, self.held = edges_held([entry.genotype for entry in self.entries])

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def mean_training(self) -> Cost:
        """Return what one whole training of a cell costs, in the mean over cells: the unit of budgets.

        The seconds of a table that others published are nan.
        """
        return Cost(self.passes.whole, float(self._seconds_a_pass.mean()) * self.passes.whole)

    def cost(self, cell: int, passes: float) -> Cost:
        """Return the cost of passes through the network of a cell."""
        return Cost(passes, float(self._seconds_a_pass[cell]) * passes)

    def percentile(self, mean: float) -> float:
        """Return the share of cells whose mean is lower than this one, in %; those of the same mean count half."""
        return percentile_among(self.means, round(mean, DIGITS))

    def regret(self, mean: float) -> float:
        """Return how far a mean lies below that of the best cell; negative for one that no tabulated cell reaches."""
        return round(float(self.means.max()) - mean, DIGITS)

    def distances(self, cell: int) -> Integers:
        """Return by how many edges each cell differs from one: what it holds there, or where it comes from."""
        found: Integers = self._edges - (self.held @ self.held[cell]).astype(np.int64)
        return found

    def neighbours(self, cell: int) -> Integers:
        """Return the other cells at the smallest distance that any of them has, in the order of their numbers."""
        distances = self.distances(cell)
        distances[cell] = np.iinfo(np.int64).max
        return np.flatnonzero(distances == distances.min())


class Trainings:
    """What one searcher trains within a budget: it pays, and sees the accuracy of one training of each cell.

    budget: in whole trainings.  Which training of a cell is seen is drawn from the seed, and so is `order`, in which
    cells are drawn: searchers of one seed draw the same cells first. A cell that was trained costs nothing again.
    """

    def __init__(self, bench: Bench, budget: float, seed: int, *, population: int = 10, sample: int = 3) -> None:
        self.bench, self.budget = bench, budget
        self.population, self.sample = population, sample
        self.random = np.random.default_rng(seed)
        self.order: list[int] = self.random.permutation(len(bench)).tolist()
        self._training = self.random.integers(bench.trainings, size=len(bench))
        self.cost = Cost()
        self.spent = 0.0
        self.seen: dict[int, float] = {}
        self._epochs: dict[int, int] = {}

    def can_train(self) -> bool:
        """Return whether there is a cell left to train, and a whole training is left of the budget."""
        return len(self.seen) < len(self.bench) and self.spent + 1 <= self.budget + 1e-9

    def train(self, cell: int) -> float:
        """Train a cell to its end, and return its accuracy on validation images under the table's attack."""
        if cell not in self.seen:
            passes = self.bench.passes
            self._pay(cell, passes.epochs, passes.validation)
            self.seen[cell] = float(self.bench.accuracies[cell, self._training[cell]])
        return self.seen[cell]

    def train_until(self, cell: int, epochs: int) -> float:
        """Train a cell until so many epochs are done, and return its accuracy under the recipe's PGD after them."""
        if epochs > self._epochs.get(cell, 0):
            self._pay(cell, epochs, self.bench.passes.glance)
        return float(self.bench.curves[cell, epochs - 1, self._training[cell]])

    def _pay(self, cell: int, epochs: int, judged: float) -> None:
        passes = (epochs - self._epochs.get(cell, 0)) * self.bench.passes.epoch + judged
        self._epochs[cell] = epochs
        self.cost += self.bench.cost(cell, passes)
        self.spent += passes / self.bench.passes.whole

    def draw(self) -> int:
        """Return the next cell of the order that has not been trained to its end."""
        return next(cell for cell in self.order if cell not in self.seen)

    def best(self) -> int:
        """Return the cell of the highest accuracy seen; of equal ones the first that was trained."""
        return max(self.seen, key=lambda cell: self.seen[cell])
