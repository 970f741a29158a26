"""The last choice of a search: between its likeliest cells, by training each of them for a short time.

Liu et al. (2019) chose so between the cells of four searches. The shared weights of a supernet rank cells poorly; a few
epochs of a cell's own do better, and cost less than the search.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pipeline.data import ImageData
from pipeline.objectives import Bound, derive_inside
from pipeline.progress import progress_bar, silently
from pipeline.retrain import retrain
from pipeline.settings import Experiment
from search_space import CostTable, Genotype
from search_space.relaxation import Relaxation, gumbel

MOST_DRAWS = 20  # for each candidate: alphas that have decided keep giving the same cells


@dataclass(frozen=True)
class Tried:
    """A candidate and its accuracy on the images held back from its training, as retraining judges; None untried."""

    genotype: Genotype
    accuracy: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"genotype": json.loads(self.genotype.to_json()), "held_back_accuracy": self.accuracy}


def draw_candidates(
    count: int,
    alphas: Tensor,
    *,
    table: CostTable,
    bounds: Mapping[str, Bound],
    relaxation: Relaxation,
    generator: torch.Generator,
) -> list[Genotype]:
    """At most `count` different genotypes inside the bounds, the alphas' own first.

    The others are derived from the alphas plus Gumbel noise: an edge's operation is then drawn with its probability
    (Gumbel 1954). Fewer come back where the alphas have decided, or the bounds leave few cells.
    """
    own = alphas.detach().clone().requires_grad_()
    found = [derive_inside(bounds, table, own, relaxation)]
    for _ in range(MOST_DRAWS * (count - 1)):
        if len(found) == count:
            break
        noise = gumbel(torch.rand(alphas.shape, generator=generator, dtype=torch.float64))
        noisy = (alphas.detach() + noise.to(alphas)).requires_grad_()
        genotype = derive_inside(bounds, table, noisy, relaxation)
        if genotype not in found:
            found.append(genotype)
    return found


def try_cells(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, genotypes: Sequence[Genotype]
) -> list[float]:
    """Held-back accuracy of each cell, trained by the recipe of retraining for the epochs of search.selection.

    No test image is read. Every training is a run folder of its own, so that what was finished is not done again.
    """
    selection = experiment.search.selection
    recipe = {"epochs": selection.epochs, "held_back": selection.held_back, "select_every": 1}
    short = experiment.model_copy(update={"retrain": experiment.retrain.model_copy(update=recipe)})
    accuracies: list[float] = []
    with progress_bar("select", len(genotypes), show=fabric.is_global_zero) as bar:
        for index, genotype in enumerate(genotypes):
            name = f"{index:03}"
            with silently():
                description = retrain(folder / name, short, data, fabric, name=name, genotype=genotype)
            accuracies.append(description.training["held_back_accuracy"])
            bar.advance(f"held back: best {max(accuracies):.1%}")
    return accuracies
