"""The last choice of a search: between its likeliest cells, by training each of them for a short time.

Liu et al. (2019) chose so between the cells of four searches. The shared weights of a supernet rank cells poorly; a few
epochs of a cell's own do better, and cost less than the search. With finalists it is successive halving (Jamieson and
Talwalkar 2016): the candidates' epochs are the first of a whole retraining, which the best of them end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pipeline.data import ImageData
from pipeline.objectives import Bound, derive_inside
from pipeline.progress import progress_bar, silently
from pipeline.retrain import retrain, train_until
from pipeline.settings import Experiment
from search_space import CostTable, Genotype
from search_space.relaxation import Relaxation, gumbel

MOST_DRAWS = 20  # for each candidate: alphas that have decided keep giving the same cells


@dataclass(frozen=True)
class Tried:
    """A candidate and its accuracies on images held back from its training, as retraining judges; one a round."""

    genotype: Genotype
    accuracies: tuple[float, ...] = ()

    @property
    def rank(self) -> tuple[int, float]:
        """What candidates are chosen by: how many rounds they were in, then the accuracy after the last."""
        return len(self.accuracies), self.accuracies[-1] if self.accuracies else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"genotype": json.loads(self.genotype.to_json()), "held_back_accuracies": list(self.accuracies)}


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
) -> list[Tried]:
    """Each cell with its accuracy after the epochs of search.selection, and of finalists after those of retraining.

    Finalists are the best of the first round; they go on from where it left them, and the learning rate of both rounds
    is that of the whole retraining. Without finalists it falls within the one round. All train by the recipe of
    retraining and read no test image, each in a folder of its own, so that what was done is not done again.
    """
    selection = experiment.search.selection
    finalists = min(selection.finalists, len(genotypes)) if selection.finalists > 1 else 0
    schedule = {"select_every": selection.epochs} if finalists else {"select_every": 1, "epochs": selection.epochs}
    recipe = experiment.retrain.model_copy(update={"held_back": selection.held_back, **schedule})
    training = experiment.model_copy(update={"retrain": recipe})
    tried = [Tried(genotype) for genotype in genotypes]
    with progress_bar("select", len(genotypes) + finalists, show=fabric.is_global_zero) as bar:
        for count, epochs in ((len(genotypes), selection.epochs), (finalists, recipe.epochs)):
            for index in best_first(tried)[:count]:
                cell = tried[index]
                accuracy = _accuracy_after(epochs, folder, f"{index:03}", training, data, fabric, cell.genotype)
                tried[index] = replace(cell, accuracies=(*cell.accuracies, accuracy))
                bar.advance(f"held back: best {max(cell.rank for cell in tried)[1]:.1%}")
    return tried


def _accuracy_after(
    epochs: int, folder: Path, name: str, training: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype
) -> float:
    """On the held-back images; a retraining that is over has its network written."""
    with silently():
        if epochs < training.retrain.epochs:
            return train_until(folder / name, training, data, fabric, genotype=genotype, epochs=epochs)
        description = retrain(folder / name, training, data, fabric, name=name, genotype=genotype)
    return float(description.training["held_back_accuracy"])


def best_first(tried: Sequence[Tried]) -> list[int]:
    """Places of the cells in `tried`, by falling rank; of equal ones the earlier comes first."""
    return sorted(range(len(tried)), key=lambda index: tried[index].rank, reverse=True)
