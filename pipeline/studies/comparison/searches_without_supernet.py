"""Searches without a supernet, beside which a comparison sets those with one: random ones, and a predictor's.

Both train as many cells as a search has candidates, each as the search does, and take the best. A random search draws
them; a predictor chooses them one by one from cells that were drawn, by their sizes and by what it has trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from lightning_fabric import Fabric

from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.data import ImageData
from pipeline.search.objectives import Bound, bounds_of, exact_cost
from pipeline.search.selection.candidate_selection import Candidate, best_first, try_cells
from pipeline.search.selection.predicted_choice import JudgedPool, try_predicted
from pipeline.settings import Experiment
from pipeline.studies.comparison.comparison_statistics import PREDICTOR, RANDOM_SEARCH
from pipeline.studies.work import images_of, in_processes, seeded, seeds
from search_space import CostTable, Genotype, canonical_form
from search_space.quantities import QUANTITIES

MOST_RANDOM_DRAWS = 20_000  # of random cells, for one inside the bounds
T = TypeVar("T")
Cells = TypeVar("Cells")
LookAtCells = Callable[[Path, Experiment, ImageData, Fabric, Cells], Sequence[T]]


def of_cells(look: LookAtCells[Cells, T], folder: Path, experiment: Experiment, cells: Cells) -> Sequence[T]:
    """What `supernet_accuracies`, `try_cells` or `try_predicted` says, on the images and machine of the experiment."""
    return look(folder, experiment, images_of(experiment.data), make_fabric(experiment.fabric), cells)


def searches_without_supernet(folder: Path, experiment: Experiment, table: CostTable) -> dict[str, list[Genotype]]:
    """Return what each kind of search without a supernet finds, one cell a seed.

    No kind is there where a search has one candidate, which would be one more random cell. Predictors are there where
    the last choice of a search is a predictor's.
    """
    settings, selection = experiment.comparison, experiment.search.selection
    count = settings.searches if settings.random_searches is None else settings.random_searches
    if selection.candidates == 1:
        return {}
    kinds = {RANDOM_SEARCH: (folder / "random_searches", _random_search)}
    if selection.proposals == "predictor":
        kinds[PREDICTOR] = folder / "predictors", _predictor
    found = {}
    for kind, (place, begin) in kinds.items():
        works = [begin(place / f"seed{seed}", seeded(experiment, seed), table) for seed in seeds(experiment, count)]
        found[kind] = [tried[0].genotype for tried in in_processes(kind, works, settings.processes)]
    return found


def _random_search(folder: Path, experiment: Experiment, table: CostTable) -> Callable[[], Sequence[Candidate]]:
    drawn = tuple(random_cells(experiment, table, experiment.search.selection.candidates, RANDOM_SEARCH))
    return partial(of_cells, _best_of, folder, experiment, drawn)


def _best_of(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, drawn: Sequence[Genotype]
) -> list[Candidate]:
    """Return the cells that were tried, the best first."""
    tried = try_cells(folder, experiment, data, fabric, drawn)
    return [tried[index] for index in best_first(tried)]


def _predictor(folder: Path, experiment: Experiment, table: CostTable) -> Callable[[], Sequence[Candidate]]:
    selection = experiment.search.selection
    drawn = random_cells(experiment, table, selection.pool or selection.candidates, PREDICTOR)
    distinct = list({canonical_form(cell): cell for cell in drawn}.values())
    pool = JudgedPool(distinct, None, [exact_cost(table, cell)["parameters"] for cell in distinct])
    return partial(of_cells, try_predicted, folder, experiment, pool)


def random_cells(experiment: Experiment, table: CostTable, count: int, stream: str = "random cells") -> list[Genotype]:
    """Cells drawn uniformly from those of the space that keep the bounds of the search (rejection sampling).

    stream: what the draws are for; draws for something else are others.
    Raises ValueError when one of MOST_RANDOM_DRAWS cells is not inside.
    """
    bounds = bounds_of(experiment.objectives).values()
    generator = torch.Generator().manual_seed(stream_seed(experiment.seed, stream))
    cells: list[Genotype] = []
    for _ in range(count):
        candidates = (table.space.random_genotype(generator) for _ in range(MOST_RANDOM_DRAWS))
        inside = next((cell for cell in candidates if keeps_bounds(cell, bounds, table)), None)
        if inside is None:
            raise ValueError(f"none of {MOST_RANDOM_DRAWS:,} random cells keeps the bounds of the search; widen them")
        cells.append(inside)
    return cells


def keeps_bounds(genotype: Genotype, bounds: Iterable[Bound], table: CostTable) -> bool:
    """Return whether the genotype's network keeps all bounds."""
    cost = table.exact(genotype)
    return not any(bound.violation(cost[QUANTITIES.index(bound.quantity)]) > 0 for bound in bounds)
