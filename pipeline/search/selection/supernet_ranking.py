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
    judge = _Judge(folder, experiment, data, fabric)
    return [judge.accuracy(genotype) for genotype in genotypes]


def supernet_ranking_settings(experiment: Experiment) -> dict[str, Any]:
    """The settings of a judgement, apart from those of the search."""
    return plain({name: getattr(experiment.pareto, name) for name in ("adapt_epochs", "held_back", "attack")})


def check_supernet_ranking(experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
    """Raise ValueError for what the search or a judgement in its supernet would refuse, such as too few images."""
    Walk(alone(experiment), data, fabric)


def judge_pool(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, genotypes: Sequence[Genotype]
) -> list[float]:
    """Return the accuracy of each cell in the search's supernet, as `supernet_accuracies` finds it.

    What was judged is in pool.json, and is not judged again. Raises RunError where that file is of other cells.
    """
    path, cells = folder / "pool.json", [genotype_to_plain(genotype) for genotype in genotypes]
    judged = [cell.model_dump() for cell in read_as(path, PoolFile, STAGE).judged] if path.exists() else []
    if [cell["genotype"] for cell in judged] != cells[: len(judged)]:
        raise RunError(f"{path} is of other cells than the alphas of this search give; remove it")
    fabric.barrier()  # all processes have read what the first one writes from here on
    judge = _Judge(folder, experiment, data, fabric)
    with progress_bar("judge", len(cells), done=len(judged), show=fabric.is_global_zero) as bar:
        for genotype, cell in list(zip(genotypes, cells, strict=True))[len(judged) :]:
            judged.append({"genotype": cell, "accuracy": judge.accuracy(genotype)})
            if fabric.is_global_zero:
                write_json(path, {"judged": judged})
            bar.advance(f"best {max(each['accuracy'] for each in judged):.1%}")
    return [cell["accuracy"] for cell in judged]


def best_judged(count: int, accuracies: Sequence[float]) -> list[int]:
    """Return the places of the `count` highest accuracies, the highest first; of equal ones the earlier.

    >>> best_judged(2, [0.3, 0.5, 0.3])
    [1, 0]
    """
    return sorted(range(len(accuracies)), key=lambda place: accuracies[place], reverse=True)[:count]


class _Judge:
    """Judges cells in the supernet of a finished search, which it reads when it is first asked."""

    def __init__(self, folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
        self._folder, self._experiment, self._data, self._fabric = folder, alone(experiment), data, fabric
        self._space = experiment.space.build()
        self._unchanged: Walk | None = None

    def accuracy(self, genotype: Genotype) -> float | None:
        """Return a cell's accuracy under attack; None for one of another space. Raises RunError without a supernet."""
        try:
            self._space.check_member(genotype)
        except ValueError:
            return None
        walk = self._unchanged or self._walk()
        for _ in walk.adapt(genotype):
            pass
        if not self._experiment.pareto.adapt_epochs:  # what was read stays as it was
            self._unchanged = walk
        _, robust = walk.judge()
        return robust.accuracy

    def _walk(self) -> Walk:
        # read again for each cell that is adapted: an optimizer goes on in the very tensors that it is given
        state = Checkpoints(self._folder, STAGE, self._fabric).load()
        if state is None:
            raise RunError(f"{self._folder} holds no trained supernet; run its search again in another folder")
        walk = Walk(self._experiment, self._data, self._fabric)
        walk.go_on_from(state)
        return walk
