"""The last choice of a search: between its likeliest cells, by training each of them for a short time.

Liu et al. (2019) chose so between the cells of four searches. The shared weights of a supernet rank cells poorly; a few
epochs of a cell's own do better, and cost less than the search. With finalists it is successive halving (Jamieson and
Talwalkar 2016): the candidates' epochs are the first of a whole retraining, which the best of them end. The accuracy on
the batches of training says how fast a network learns, and ranks cells earlier than that on held-back images: it is a
mean over many steps, and in a first epoch over images not seen before. Ru et al. (2021) add up training losses so.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pipeline.compute.seeds import stream_seed
from pipeline.data import ImageData
from pipeline.errors import RunError
from pipeline.networks.description import genotype_to_plain
from pipeline.runs.metrics import read_metrics
from pipeline.runs.progress import progress_bar, silently
from pipeline.search.objectives import Bound, derive_within_bounds
from pipeline.settings import Experiment
from pipeline.training.retrain import retrain, train_until
from pipeline.training.training_images import STAGE
from search_space import CostTable, Genotype, canonical_form
from search_space.supernet.operation_weights import gumbel
from search_space.supernet.relaxation import Relaxation

DRAWS_PER_CANDIDATE = 20  # for each candidate: alphas that have decided keep giving the same cells


@dataclass(frozen=True)
class Candidate:
    """A candidate and its accuracies, by the measure of search.selection; one a round.

    expected: what a model of all that was tried expects of it, where there is one.
    """

    genotype: Genotype
    accuracies: tuple[float, ...] = ()
    expected: float | None = None

    @property
    def rank(self) -> tuple[int, float]:
        """What candidates are chosen by: how many rounds they were in, then the accuracy after the last."""
        return len(self.accuracies), self.accuracies[-1] if self.accuracies else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        expected = {} if self.expected is None else {"expected": round(self.expected, 6)}
        return {"genotype": genotype_to_plain(self.genotype), "accuracies": list(self.accuracies), **expected}


def draw_candidates(
    count: int,
    alphas: Tensor,
    *,
    table: CostTable,
    bounds: Mapping[str, Bound],
    relaxation: Relaxation,
    generator: torch.Generator,
) -> list[Genotype]:
    """Draw at most `count` genotypes of different functions inside the bounds, the alphas' own first.

    The others are derived from the alphas plus Gumbel noise: an edge's operation is then drawn with its probability
    (Gumbel 1954). Fewer come back where the alphas have decided, or the bounds leave few cells.
    """
    own = alphas.detach().clone().requires_grad_()
    derived = derive_within_bounds(bounds, table, own, relaxation)
    found = {canonical_form(derived): derived}
    for _ in range(DRAWS_PER_CANDIDATE * (count - 1)):
        if len(found) == count:
            break
        noise = gumbel(torch.rand(alphas.shape, generator=generator, dtype=torch.float64))
        noisy = (alphas.detach() + noise.to(alphas)).requires_grad_()
        genotype = derive_within_bounds(bounds, table, noisy, relaxation)
        found.setdefault(canonical_form(genotype), genotype)
    return list(found.values())


def try_cells(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, genotypes: Sequence[Genotype]
) -> list[Candidate]:
    """Each cell with its accuracy after the epochs of search.selection, and of finalists after those of retraining.

    Finalists are the best of the first round. They go on from where it left them, so that the learning rate in both
    rounds is that of the whole retraining; without finalists it falls to its end within the one round. All train by the
    recipe of retraining, but for its patience, its seed and how much is held back, and read no test image, each in a
    folder of its own, so that what was done is not done again.
    """
    selection = experiment.search.selection
    finalists = min(selection.finalists, len(genotypes))
    if finalists == 1:  # nothing to choose
        finalists = 0
    trials = Trials(folder, experiment, data, fabric, with_finalists=finalists > 0)
    tried = [Candidate(genotype) for genotype in genotypes]
    with progress_bar("select", len(genotypes) + finalists, show=fabric.is_global_zero) as bar:
        for count, epochs in ((len(genotypes), selection.epochs), (finalists, experiment.retrain.epochs)):
            for index in best_first(tried)[:count]:
                cell = tried[index]
                accuracy = trials.accuracy(index, cell.genotype, epochs)
                tried[index] = replace(cell, accuracies=(*cell.accuracies, accuracy))
                bar.advance(f"best {max(cell.rank for cell in tried)[1]:.1%}")
    return tried


class Trials:
    """Trains cells for the last choice, each in a folder of its own, so that what was done is not done again.

    with_finalists: whether the best go on to the end of a retraining, whose learning rate all then have.
    """

    def __init__(
        self, folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, *, with_finalists: bool
    ) -> None:
        self._folder, self._data, self._fabric = folder, data, fabric
        self._training = _training(experiment, with_finalists=with_finalists)
        self._measure = MEASURES[experiment.search.selection.measure]

    def accuracy(self, place: int, genotype: Genotype, epochs: int) -> float:
        """Return a cell's accuracy after so many epochs, by the measure of search.selection.

        place: of the cell among all that may be tried, which names its folder.
        """
        with silently():
            folder = self._folder / f"{place:03}"
            return self._measure(_steps_of(epochs, folder, self._training, self._data, self._fabric, genotype))


def _training(experiment: Experiment, *, with_finalists: bool) -> Experiment:
    """The experiment whose retraining the candidates begin.

    Its seed is another: a cell chosen for its luck must not meet the same luck when it is retrained.
    """
    selection, recipe = experiment.search.selection, experiment.retrain
    epochs = recipe.epochs if with_finalists else selection.epochs
    judged_every = selection.epochs if with_finalists else 1
    changes = {
        "epochs": epochs,
        "held_back": selection.held_back,
        # the last epoch is judged in any case
        "select_every": judged_every if selection.measure == "held_back_accuracy" else epochs,
        "patience": None,
    }
    seed = stream_seed(experiment.seed, "selection")
    return experiment.model_copy(update={"seed": seed, "retrain": recipe.model_copy(update=changes)})


def _steps_of(
    epochs: int, folder: Path, training: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype
) -> list[dict[str, Any]]:
    """Rows of the steps of the first epochs, trained where they are not yet; a retraining that is over has its network.

    Raises RunError where rows are missing.
    """
    count = train_until(epochs, folder, training, data, fabric, genotype=genotype)
    if epochs == training.retrain.epochs:
        retrain(folder, training, data, fabric, name=folder.name, genotype=genotype)
    rows = [row for row in read_metrics(folder, STAGE) if row["epoch"] < epochs]
    if [row["step"] for row in rows] != list(range(count)):
        raise RunError(f"{folder / 'metrics.jsonl'} lacks steps of the training in its folder; remove {folder}")
    return rows


def _held_back_accuracy(steps: Sequence[Mapping[str, Any]]) -> float:
    """The best on images held back from training, as retraining chooses its checkpoint."""
    return max(float(step["held_back_accuracy"]) for step in steps if "held_back_accuracy" in step)


def _training_accuracy(steps: Sequence[Mapping[str, Any]]) -> float:
    """The mean over the batches of the last half of the steps, as the recipe learns them: how fast the cell learns."""
    return statistics.fmean(step["training_accuracy"] for step in steps[len(steps) // 2 :])


MEASURES = MappingProxyType({"held_back_accuracy": _held_back_accuracy, "training_accuracy": _training_accuracy})


def best_first(tried: Sequence[Candidate]) -> list[int]:
    """Places of the cells in `tried`, by falling rank; of equal ones the earlier comes first."""
    return sorted(range(len(tried)), key=lambda index: tried[index].rank, reverse=True)
