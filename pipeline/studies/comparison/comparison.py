"""The honest comparison: searched cells beside random ones of the same size, published ones and a ResNet.

Searches without a supernet make the same last choice (searches_without_supernet.py): beside what they find stands what
the supernets add (Li and Talwalkar 2019, Yu et al. 2020). Every cell is retrained by one
recipe with the same settings and seeds, and attacked on the same test images. Searches and retrainings are run folders
of their own, so that a comparison that was stopped goes on where it was.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.compute.fabric import make_fabric
from pipeline.evaluation.accuracy import CLEAN, Accuracy
from pipeline.networks.description import genotype_to_plain
from pipeline.search.objectives import bounds_of, check_attainable, derived_shape
from pipeline.search.search import search
from pipeline.search.selection.supernet_ranking import check_supernet_ranking, supernet_accuracies
from pipeline.settings import Experiment
from pipeline.studies.comparison.comparison_statistics import (
    BROUGHT,
    CONTROL,
    PUBLISHED_KIND,
    RANDOM,
    SEARCHED,
    CellResult,
)
from pipeline.studies.comparison.searches_without_supernet import (
    of_cells,
    random_cells,
    searches_without_supernet,
)
from pipeline.studies.retrain_and_evaluate import check_retrain_and_evaluate, retrain_and_evaluate
from pipeline.studies.work import images_of, in_processes, seeded, seeds
from search_space import PUBLISHED, CostTable, Genotype, channels_for_parameters
from search_space.cells.resnet import BASIC_BLOCK, resnet_layers


@dataclass(frozen=True)
class Contender:
    """A cell and its name, which is also that of its folder.

    layers: of its network; None for retrain.layers.
    """

    kind: str
    name: str
    genotype: Genotype
    layers: int | None = None


@dataclass(frozen=True)
class SearchWork:
    """A search and its run folder."""

    folder: Path
    experiment: Experiment

    def __call__(self) -> Genotype:
        """Search, or read what was found."""
        experiment = self.experiment
        return search(self.folder, experiment, images_of(experiment.data), make_fabric(experiment.fabric))


@dataclass(frozen=True)
class Retrained:
    """What one retraining gave."""

    accuracies: Sequence[Accuracy]
    cost: Mapping[str, int]


@dataclass(frozen=True)
class RetrainingWork:
    """A cell, the experiment whose recipe and seed it is retrained by, and the run folder."""

    folder: Path
    experiment: Experiment
    contender: Contender

    def __call__(self) -> tuple[str, Retrained]:
        """Retrain and evaluate, or read what was measured; the cell's name with it."""
        experiment, data = self.experiment, images_of(self.experiment.data)
        fabric = make_fabric(experiment.fabric)
        name, genotype = self.contender.name, self.contender.genotype
        return name, Retrained(
            *retrain_and_evaluate(self.folder, experiment, data, fabric, name=name, genotype=genotype)
        )


def compare(folder: Path, experiment: Experiment) -> list[CellResult]:
    """Search, draw random cells, retrain and evaluate all, and let the supernets judge them; searched cells first.

    Raises ValueError before any work when the settings do not make an honest comparison, and RunError when the folder
    holds one with other settings.
    """
    table = cost_table(experiment)
    drawn = random_cells(experiment, table, experiment.comparison.random)
    _check_stages(experiment, drawn[0])
    control = controls(experiment)
    settings = experiment.comparison
    searching = [
        SearchWork(folder / "searches" / f"seed{seed}", seeded(experiment, seed))
        for seed in seeds(experiment, settings.searches)
    ]
    found = in_processes("search", searching, settings.processes)
    contenders = [
        *(Contender(SEARCHED, f"searched-{index}", genotype) for index, genotype in enumerate(found)),
        *(
            Contender(kind, f"{kind.replace(' ', '-')}-{index}", genotype)
            for kind, cells in searches_without_supernet(folder, experiment, table).items()
            for index, genotype in enumerate(cells)
        ),
        *(Contender(RANDOM, f"random-{index}", genotype) for index, genotype in enumerate(drawn)),
        *(Contender(PUBLISHED_KIND, name, PUBLISHED[name].genotype) for name in settings.published),
        *control,
    ]
    size = round(statistics.fmean(table.exact(genotype)[0].item() for genotype in found))
    results = in_processes("retrain", list(retrainings(folder, experiment, contenders, size)), settings.processes)
    genotypes = tuple(contender.genotype for contender in contenders)
    judging = [partial(of_cells, supernet_accuracies, each.folder, each.experiment, genotypes) for each in searching]
    judgements = list(zip(*in_processes("judge", judging, settings.processes), strict=True))
    return [
        _standing(
            experiment,
            contender,
            [result for name, result in results if name == contender.name],
            judgement,
        )
        for contender, judgement in zip(contenders, judgements, strict=True)
    ]


def controls(experiment: Experiment) -> list[Contender]:
    """Return the ResNet that every comparison has, unless the settings ask for none.

    Raises ValueError where not even one channel of it is as small as the cells of the bounds.
    """
    depth = experiment.comparison.resnet
    if depth is None:
        return []
    control = Contender(CONTROL, f"ResNet-{depth}", BASIC_BLOCK, resnet_layers(depth))
    shape = images_of(experiment.data).network_shape(channels=1, layers=resnet_layers(depth))
    try:
        channels_for_parameters(BASIC_BLOCK, math.floor(experiment.objectives.parameters[0] or 1), shape=shape)
    except ValueError as error:
        raise ValueError(f"comparison.resnet={depth}: {error}; use a smaller depth, or null for none") from None
    return [control]


def _check_stages(experiment: Experiment, genotype: Genotype) -> None:
    """Raise ValueError for what a stage would refuse, here and not in a process of its own."""
    data, fabric = images_of(experiment.data), make_fabric(experiment.fabric)
    check_supernet_ranking(experiment, data, fabric)
    check_retrain_and_evaluate(experiment, data, fabric, genotype)


def cost_table(experiment: Experiment) -> CostTable:
    """Sizes of the space's networks. Raises ValueError when random cells would not have the size of searched ones."""
    search, recipe = experiment.search, experiment.retrain
    if recipe.parameters is not None:
        raise ValueError("a comparison sets retrain.parameters itself, for the published cells; leave it null")
    if (search.derived_channels, search.derived_layers) != (recipe.channels, recipe.layers):
        raise ValueError(
            f"search.derived_channels={search.derived_channels} and search.derived_layers={search.derived_layers}, but "
            f"retrain.channels={recipe.channels} and retrain.layers={recipe.layers}: a comparison needs them the same"
        )
    if None in experiment.objectives.parameters:
        raise ValueError("random cells of the same size need both bounds: objectives.parameters=[lower, upper]")
    table = CostTable(experiment.space.build(), derived_shape(experiment, images_of(experiment.data)))
    check_attainable(bounds_of(experiment.objectives), table)
    return table


def retrainings(
    folder: Path, experiment: Experiment, contenders: Sequence[Contender], size: int
) -> Iterator[RetrainingWork]:
    """Yield every cell with each of its seeds. size: parameters that cells from elsewhere get, by their channels."""
    settings = experiment.comparison
    for contender in contenders:
        own = {"parameters": size} if contender.kind in BROUGHT else {}
        own |= {} if contender.layers is None else {"layers": contender.layers}
        chosen = experiment.model_copy(update={"retrain": experiment.retrain.model_copy(update=own)})
        for seed in seeds(experiment, settings.random_seeds if contender.kind == RANDOM else settings.seeds):
            yield RetrainingWork(folder / "cells" / contender.name / f"seed{seed}", seeded(chosen, seed), contender)


def _standing(
    experiment: Experiment,
    contender: Contender,
    results: Sequence[Retrained],
    judgements: Sequence[float | None],
) -> CellResult:
    cost = results[0].cost
    return CellResult(
        name=contender.name,
        kind=contender.kind,
        parameters=cost["parameters"],
        macs=cost[experiment.objectives.macs_convention],
        accuracies={
            name: tuple(found.accuracy for result in results for found in result.accuracies if found.attack == name)
            for name in (CLEAN, *experiment.evaluate.attacks)
        },
        judgements=tuple(judgement for judgement in judgements if judgement is not None),
        genotype=genotype_to_plain(contender.genotype),
    )
