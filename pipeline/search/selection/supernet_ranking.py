"""What a trained supernet thinks of single cells: their accuracy under attack with its weights.

Its alphas say which operations serve the mixture; of single cells it foretells more when it is asked for each (Bender
et al. 2018, Guo et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from pipeline.data import ImageData
from pipeline.errors import RunError
from pipeline.networks.description import genotype_to_plain
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.files import write_json
from pipeline.runs.progress import progress_bar
from pipeline.runs.same_settings import plain
from pipeline.runs.schemas import read_as
from pipeline.runs.stored_stages import PoolFile
from pipeline.search.search_images import STAGE
from pipeline.search.selection.continued_search import Walk, alone
from pipeline.settings import Experiment
from search_space import Genotype


def supernet_accuracies(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, genotypes: Sequence[Genotype]
) -> list[float | None]:
    """Accuracy of each cell in the supernet of a finished search, under the attack of a walk along the Pareto front.

    As there, the weights first adapt to the cell alone, and judge it on images that no weight was trained on; the test
    images are not read. None for a cell that is not of the search's space. Raises RunError when the folder holds no
    supernet.
    """
    return [_supernet_accuracy(folder, alone(experiment), data, fabric, genotype) for genotype in genotypes]


def supernet_ranking_settings(experiment: Experiment) -> dict[str, Any]:
    """The settings of a judgement, apart from those of the search."""
    return plain({name: getattr(experiment.pareto, name) for name in ("adapt_epochs", "held_back", "attack")})


def check_supernet_ranking(experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
    """Raise ValueError for what the search or a judgement in its supernet would refuse, such as too few images."""
    Walk(alone(experiment), data, fabric)


def best_by_supernet(
    count: int, folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, genotypes: Sequence[Genotype]
) -> list[Genotype]:
    """Find the `count` cells that are best in the search's supernet, the best first; of equal ones the earlier.

    What was judged is in pool.json, and is not judged again. Raises RunError where that file is of other cells.
    """
    path, cells = folder / "pool.json", [genotype_to_plain(genotype) for genotype in genotypes]
    judged = [cell.model_dump() for cell in read_as(path, PoolFile, STAGE).judged] if path.exists() else []
    if [cell["genotype"] for cell in judged] != cells[: len(judged)]:
        raise RunError(f"{path} is of other cells than the alphas of this search give; remove it")
    fabric.barrier()  # all processes have read what the first one writes from here on
    with progress_bar("judge", len(cells), done=len(judged), show=fabric.is_global_zero) as bar:
        for genotype, cell in list(zip(genotypes, cells, strict=True))[len(judged) :]:
            (accuracy,) = supernet_accuracies(folder, experiment, data, fabric, [genotype])
            judged.append({"genotype": cell, "accuracy": accuracy})
            if fabric.is_global_zero:
                write_json(path, {"judged": judged})
            bar.advance(f"best {max(each['accuracy'] for each in judged):.1%}")
    order = sorted(range(len(cells)), key=lambda index: judged[index]["accuracy"], reverse=True)
    return [genotypes[index] for index in order[:count]]


def _supernet_accuracy(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype
) -> float | None:
    try:
        experiment.space.build().check_member(genotype)
    except ValueError:
        return None
    # read again for each cell: an optimizer goes on in the very tensors that it is given
    state = Checkpoints(folder, STAGE, fabric).load()
    if state is None:
        raise RunError(f"{folder} holds no trained supernet; run its search again in another folder")
    walk = Walk(experiment, data, fabric)
    walk.go_on_from(state)
    for _ in walk.adapt(genotype):
        pass
    _, robust = walk.judge()
    return robust.accuracy
