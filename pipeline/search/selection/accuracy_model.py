"""A model of the accuracy of cells, learned from those that were trained: it says which cell to train next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import rankdata

from search_space import Genotype

Floats = NDArray[np.float64]

REACHES = (1.0, 2.0, 4.0)  # edges by which two cells differ whose accuracies still tell of one another
NOISES = (0.1, 0.3, 1.0)  # variance of one training, beside that of cells
TRUSTS = (0.0, 0.5, 2.0)  # variance of the slope of accuracy in a judgement, beside that of cells
FIRST = 3  # cells that are chosen by their judges alone, before anything can be predicted
TINY = 1e-12  # of a spread: all values are equal


def edges_held(genotypes: Sequence[Genotype]) -> tuple[int, Floats]:
    """Return the largest number of edges of a cell, and which each cell holds: [cells, distinct edges], 0 or 1.

    An edge is told from another by its kind of cell, its node, its operation and where it comes from.

    >>> from search_space import Genotype
    >>> three = "|{}~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"
    >>> edges, held = edges_held([Genotype.from_nasbench201(three.format(name)) for name in ("none", "skip_connect")])
    >>> edges, held.shape, (held[0] != held[1]).sum().item()
    (6, (2, 7), 2)
    """
    held = [
        {
            (kind, node, edge.operation, edge.source)
            for kind, cell in genotype.cells.items()
            for node, edges in enumerate(cell.nodes)
            for edge in edges
        }
        for genotype in genotypes
    ]
    distinct = {edge: column for column, edge in enumerate(sorted(set().union(*held)))}
    rows = np.zeros((len(held), len(distinct)))
    for row, edges in zip(rows, held, strict=True):
        row[[distinct[edge] for edge in edges]] = 1
    return max(map(len, held)), rows


def standard_ranks(scores: Sequence[float]) -> Floats:
    """Return the rank of each score with mean 0 and variance 1: how far the scores are apart says nothing.

    >>> standard_ranks([0.1, 0.9, 0.2]).round(2).tolist()
    [-1.22, 1.22, 0.0]
    """
    ranks: Floats = rankdata(scores)
    standard: Floats = (ranks - ranks.mean()) / max(float(ranks.std()), TINY)
    return standard


class AccuracyModel:
    """A Gaussian process over cells, whose mean may follow what others think of them.

    held: which edges each cell holds, as `edges_held` returns.
    judgements: [cells, judges], each of mean 0 and variance 1, higher for a cell that its judge likes better; or None.

    The covariance of two cells is exp(-edges in which they differ / reach), plus trust times the product of their
    judgements: accuracy is linear in each judgement, with a slope that is learned, and what is left is alike in cells
    that are alike. Reach, trust and the noise of one training are, in each prediction, those of the highest marginal
    likelihood.

    >>> held = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> means, deviations = AccuracyModel(held).predict({0: 0.6, 2: 0.4})
    >>> bool(means[0] == means[1] > means[2]), bool(deviations.max() < 0.1)
    (True, True)
    """

    def __init__(self, held: Floats, judgements: Floats | None = None) -> None:
        self._held = held
        self.judgements = np.zeros((len(held), 0)) if judgements is None else judgements

    def predict(self, seen: Mapping[int, float]) -> tuple[Floats, Floats]:
        """Return the mean and the standard deviation of each cell's accuracy, [cells].

        seen: the accuracies of cells that were trained, by their row; at least one.
        """
        cells, accuracies = list(seen), np.array(list(seen.values()))
        middle, spread = accuracies.mean(), float(accuracies.std())
        unit = spread if spread > TINY else 1.0
        targets = (accuracies - middle) / unit
        likelihood, means, deviations = -np.inf, np.zeros(0), np.zeros(0)
        trusts = TRUSTS if self.judgements.shape[1] else (0.0,)
        sizes = self._held.sum(axis=1)
        differing = (sizes[:, None] + sizes[None, cells]) / 2 - self._held @ self._held[cells].T
        for reach, trust, noise in product(REACHES, trusts, NOISES):
            across: Floats = np.exp(-differing / reach) + trust * self.judgements @ self.judgements[cells].T
            factor = cho_factor(across[cells] + noise * np.eye(len(cells)), lower=True)
            weights = cho_solve(factor, targets)
            found = -0.5 * targets @ weights - np.log(np.diag(factor[0])).sum()
            if found > likelihood:
                likelihood, means = found, middle + unit * (across @ weights)
                explained = (across * cho_solve(factor, across.T).T).sum(axis=1)
                variances = 1 + trust * (self.judgements**2).sum(axis=1)
                deviations = unit * np.sqrt(np.clip(variances - explained, 0, None))
        return means, deviations


def most_promising(model: AccuracyModel, seen: Mapping[int, float], order: Sequence[int]) -> int:
    """Return the cell to train next, none that was seen; of equal ones the first in `order`.

    It is the one of the highest upper confidence bound, a standard deviation above the mean (Srinivas et al. 2010). The
    first three are those that the judges like best together; without judges, the first of the order.
    """
    left = [cell for cell in order if cell not in seen]
    if len(seen) < FIRST:
        bounds = model.judgements.sum(axis=1)
    else:
        means, deviations = model.predict(seen)
        bounds = means + deviations
    return max(left, key=lambda cell: float(bounds[cell]))


def best_expected(model: AccuracyModel, seen: Mapping[int, float]) -> int:
    """Return the seen cell of the highest predicted mean, so that the luck of one training counts less."""
    means, _ = model.predict(seen)
    return max(seen, key=lambda cell: (float(means[cell]), seen[cell]))
