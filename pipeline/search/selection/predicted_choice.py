"""The last choice of a search by a predictor: cells are trained one after another, each where most is expected.

What a supernet says of cells is worth something, and so is their size, but the best of a large pool by either is mostly
the one that is overrated most. Here both are the mean of a model that each training corrects, as in Bayesian
optimisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from pipeline.data import ImageData
from pipeline.runs.progress import progress_bar
from pipeline.search.selection.accuracy_model import (
    AccuracyModel,
    Floats,
    best_expected,
    edges_held,
    most_promising,
    standard_ranks,
)
from pipeline.search.selection.candidate_selection import Candidate, Trials
from pipeline.settings import Experiment
from search_space import Genotype


@dataclass(frozen=True)
class JudgedPool:
    """Cells to choose from, with their accuracies in a supernet, if there is one, and their networks' parameters."""

    genotypes: Sequence[Genotype]
    accuracies: Sequence[float] | None
    parameters: Sequence[int]

    @property
    def judgements(self) -> Floats:
        """Return the ranks by supernet, if any, and by parameters, [cells, judges], of mean 0 and variance 1 each."""
        scores = [self.parameters] if self.accuracies is None else [self.accuracies, self.parameters]
        return np.stack([standard_ranks(each) for each in scores], axis=1)


def try_predicted(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, pool: JudgedPool
) -> list[Candidate]:
    """Train search.selection.candidates cells of a pool, and return them, the one of the highest expectation first.

    All of a smaller pool are trained. Each is the most promising by an `AccuracyModel` of those before, and trained and
    measured as `try_cells` does without finalists.
    """
    selection = experiment.search.selection
    trials = Trials(folder, experiment, data, fabric, with_finalists=False)
    _, held = edges_held(pool.genotypes)
    model = AccuracyModel(held, pool.judgements)
    seen: dict[int, float] = {}
    count = min(selection.candidates, len(held))
    with progress_bar("select", count, show=fabric.is_global_zero) as bar:
        while len(seen) < count:
            place = most_promising(model, seen, range(len(held)))
            seen[place] = trials.accuracy(place, pool.genotypes[place], selection.epochs)
            bar.advance(f"best {max(seen.values()):.1%}")
    means, _ = model.predict(seen)
    chosen = best_expected(model, seen)
    return [
        Candidate(pool.genotypes[place], (seen[place],), expected=float(means[place]))
        for place in sorted(seen, key=lambda place: (place == chosen, means[place]), reverse=True)
    ]
