"""Judges that look at networks with their first weights, asked of cells of the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.options.judges import JUDGES
from pipeline.settings import Experiment
from pipeline.studies.study.statistics import rank_correlation
from pipeline.studies.study.study_file import Judgement
from pipeline.studies.tables.table import Entry, Table
from pipeline.studies.work import images_of, in_processes
from pipeline.training.network_trainer import initial_network
from pipeline.training.training_images import TrainingImages
from search_space import Genotype

IMAGES = 64  # that a proxy looks at


@dataclass(frozen=True)
class ProxyWork:
    """A cell, and the judges that score the network of its first weights.

    experiment: by which the table's networks are trained.
    """

    experiment: Experiment
    genotype: Genotype
    judges: tuple[str, ...]

    def __call__(self) -> list[float]:
        """Score the cell by each judge, on the same training images as every cell."""
        experiment, data = self.experiment, images_of(self.experiment.data)
        train = TrainingImages(experiment, data, make_fabric(experiment.fabric)).train
        chosen = next(train.shuffled_indices(min(IMAGES, len(train)), stream_seed(experiment.seed, "proxies")))
        _, images, labels = next(iter(train.read([chosen])))
        scores = []
        for name in self.judges:
            network = initial_network(experiment, data, self.genotype, channels=experiment.retrain.channels)
            seed_stream(experiment.seed, "proxies", name)
            scores.append(float(JUDGES[name].load()(network.to(images.device), images, labels)))
        return scores


def network_judgements(table: Table, experiment: Experiment, genotypes: Sequence[Genotype]) -> Iterator[Judgement]:
    """Yield how far each judge of networks agrees with the table's means of these cells."""
    settings = experiment.study
    names = tuple(name for name in settings.judges if JUDGES[name].reads == "network")
    if not names:
        return
    works = [ProxyWork(experiment, genotype, names) for genotype in genotypes]
    scores = np.array(in_processes("judge", works, settings.processes))
    means = np.array([table.mean(genotype) for genotype in genotypes])
    for column, name in enumerate(names):
        tau, low, high = rank_correlation(scores[:, [column]], means)
        yield Judgement(judge=name, label=JUDGES[name].label, cells=len(genotypes), tau=tau, low=low, high=high)


def judged_cells(cells: Sequence[Entry], count: int | None, seed: int) -> list[Genotype]:
    """Draw cells to be judged, all of them by default; those of a larger count begin with a smaller's."""
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(stream_seed(seed, "study", "judged")))
    return [cells[place].genotype for place in order.tolist()[:count]]
