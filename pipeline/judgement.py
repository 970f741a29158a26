"""What a trained supernet thinks of single cells: their accuracy under attack with its shared weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.bilevel import STAGE, BilevelSearch
from pipeline.data import ImageData, Images, balanced_indices
from pipeline.evaluate import classified_right
from pipeline.run import Checkpoints, RunError, seed_stream
from pipeline.settings import Experiment
from pipeline.training import attack_on
from search_space import Genotype, SearchSpace, Supernet
from search_space.relaxation import Moment, Relaxation


@dataclass(frozen=True, kw_only=True)
class Given(Relaxation):
    """The alphas are themselves the weights of the mixture."""

    def weights(self, space: SearchSpace, alphas: Tensor, moment: Moment) -> Tensor:
        """The alphas."""
        return alphas


def judge(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, genotypes: Sequence[Genotype]
) -> list[float | None]:
    """Accuracy of each cell in the supernet of a finished search, under the attack of retraining.

    The supernet runs with the cell's operations alone, on images that its weights were not trained on; the test images
    are not read. None for a cell that is not of the search's space. Raises RunError when the folder holds no supernet.
    """
    state = Checkpoints(folder, STAGE, fabric).load()
    if state is None:
        raise RunError(f"{folder} holds no trained supernet; run its search again in another folder")
    bilevel = BilevelSearch(experiment, data, fabric)
    bilevel.supernet.load_state_dict(state["supernet"])
    limit = min(experiment.comparison.judged_images or len(bilevel.alpha_images), len(bilevel.alpha_images))
    chosen = torch.from_numpy(balanced_indices(bilevel.alpha_images.labels.cpu().numpy(), limit))
    images = bilevel.alpha_images.take(chosen.to(fabric.device))
    return [_judgement(bilevel.supernet, experiment, images, genotype) for genotype in genotypes]


def _judgement(supernet: Supernet, experiment: Experiment, images: Images, genotype: Genotype) -> float | None:
    try:
        one_hot = supernet.space.one_hot(genotype)
    except ValueError:
        return None
    set_cell(supernet, one_hot)
    seed_stream(experiment.seed, "judge")  # the same random starts for every cell
    attack = attack_on(supernet, experiment.retrain.attack)
    right = 0
    for inputs, labels in images.batches(experiment.search.batch_size):
        right += int(classified_right(supernet, attack(inputs, labels), labels).sum())
    return right / len(images)


def set_cell(supernet: Supernet, one_hot: Tensor) -> None:
    """Let a supernet run one cell: probabilities [cells, edges, operations] in the place of its alphas."""
    device = supernet.alphas.device
    supernet.alphas = nn.Parameter(one_hot.float().to(device), requires_grad=False)
    supernet.relaxation = Given()
