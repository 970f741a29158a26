"""What a trained supernet thinks of single cells: their accuracy under attack with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_fabric import Fabric

from pipeline.checkpoints import Checkpoints
from pipeline.data import ImageData
from pipeline.files import RunError
from pipeline.search_images import STAGE
from pipeline.settings import Experiment
from pipeline.walk import Walk, alone
from search_space import Genotype


def judge(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, genotypes: Sequence[Genotype]
) -> list[float | None]:
    """Accuracy of each cell in the supernet of a finished search, under the attack of a walk along the Pareto front.

    As there, the weights first adapt to the cell alone, and judge it on images that no weight was trained on; the test
    images are not read. None for a cell that is not of the search's space. Raises RunError when the folder holds no
    supernet.
    """
    return [_judgement(folder, alone(experiment), data, fabric, genotype) for genotype in genotypes]


def _judgement(
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
