"""The searchers of a study that read a table of cells, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from on_demand import Option


@dataclass(frozen=True, kw_only=True)
class SearcherOption(Option):
    """A searcher; its code takes `Trainings` and returns the number of the cell that it chooses.

    trains: it spends a budget; else it chooses without any training, and has one result.
    reads_curves: it looks at cells before the end of their training.
    """

    trains: bool = True
    reads_curves: bool = False


SEARCHERS: Mapping[str, SearcherOption] = {
    "random_cell": SearcherOption(
        label="random cell",
        meaning="a cell drawn uniformly",
        code="pipeline.studies.study.searchers.sampling:random_cell",
        trains=False,
    ),
    "largest_parameters": SearcherOption(
        label="most parameters",
        meaning="the cell of the most parameters inside the bounds",
        code="pipeline.studies.study.searchers.sampling:largest",
        arguments={"quantity": "parameters"},
        trains=False,
    ),
    "largest_macs": SearcherOption(
        label="most MACs",
        meaning="the cell of the most multiply-accumulates inside the bounds",
        code="pipeline.studies.study.searchers.sampling:largest",
        arguments={"quantity": "conv_linear_macs"},
        trains=False,
    ),
    "random_search": SearcherOption(
        label="random search",
        meaning="cells drawn uniformly are trained in full, and the best on validation images is taken",
        code="pipeline.studies.study.searchers.sampling:random_search",
    ),
    "successive_halving": SearcherOption(
        label="successive halving",
        meaning="random cells train for a few epochs, and the best third of them goes on (Jamieson & Talwalkar 2016)",
        code="pipeline.studies.study.searchers.sampling:successive_halving",
        reads_curves=True,
    ),
    "evolution": SearcherOption(
        label="regularised evolution",
        meaning="the best of a sample has a child, and the oldest cell dies (Real et al. 2019)",
        code="pipeline.studies.study.searchers.walks:evolution",
    ),
    "local_search": SearcherOption(
        label="local search",
        meaning="all neighbours of a cell are trained, and the best is the next cell (White et al. 2021)",
        code="pipeline.studies.study.searchers.walks:local_search",
    ),
    "predictor": SearcherOption(
        label="predictor",
        meaning="a Gaussian process predicts cells by their size and those that were trained, the largest first; the "
        "most promising one is trained next, and the best mean taken (Srinivas et al. 2010)",
        code="pipeline.studies.study.searchers.prediction:predictor",
    ),
}
