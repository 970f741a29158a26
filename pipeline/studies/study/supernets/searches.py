"""Searches by a supernet as a study runs them: settings go in, cells and all that they cost come out.

A search is the project's own, in a folder of its own, on the training images of the table. What is new in a search,
such as another relaxation or another choice of the cell, is here as soon as a setting names it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from pipeline.compute.fabric import make_fabric
from pipeline.data import ImageData
from pipeline.networks.description import genotype_from_plain, genotype_to_plain
from pipeline.runs.files import LARGEST_JSON, read_bytes, write_json
from pipeline.runs.same_settings import check_same_settings
from pipeline.runs.schemas import Figure, PlainGenotype, Schema, Seconds, Share, read_as
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.search.objectives import bounds_of, derive_within_bounds, derived_shape
from pipeline.search.search import search, search_settings
from pipeline.search.selection.supernet_ranking import check_supernet_ranking
from pipeline.settings import Experiment
from pipeline.studies.study.searchers.costs import FORWARD, Cost
from pipeline.studies.work import images_of, seeded
from pipeline.training.training_images import TrainingImages
from search_space import CostTable, Genotype, Supernet
from search_space.network.passes import heard_by
from search_space.quantities import QUANTITIES
from search_space.supernet.paths import SinglePath

FOUND_FILE = "found.json"
MACS = QUANTITIES.index("conv_linear_macs")


class FoundCell(Schema):
    """A cell that a search found, and what it took to find it.

    passes: of images through single networks, where one through the supernet counts as many as it has MACs more.
    supernet_passes: those through the supernet, each counted once.
    """

    genotype: PlainGenotype
    passes: Figure
    supernet_passes: Figure
    seconds: Seconds

    @property
    def cell(self) -> Genotype:
        """Return the genotype."""
        return genotype_from_plain(self.genotype)

    @property
    def cost(self) -> Cost:
        """Return what it took."""
        return Cost(self.passes, self.seconds)


class FoundFile(Schema):
    """The content of found.json, which says that a search of a study is over.

    chosen: by the whole search.  own: by the alphas alone, where a last choice came after them; its cost ends with the
    last pass through the supernet.  entropy: of each edge's operations at the end, of its largest.
    """

    settings: dict[str, Any]
    chosen: FoundCell
    own: FoundCell | None
    entropy: tuple[Share, ...]


@dataclass
class PassCounter:
    """Counts the passes of images through supernets and single networks, forward alone a third of one."""

    supernet: float = 0.0
    network: float = 0.0
    at_last_supernet: tuple[float, float, float] = (0.0, 0.0, 0.0)
    started: float = field(default_factory=time.process_time)
    is_path: bool = False

    def __call__(self, module: nn.Module, images: Tensor) -> None:
        """Count a pass of images [N, C, H, W]."""
        if isinstance(module, SinglePath):  # the next network is one of the supernet's
            self.is_path = True
            return
        passes = len(images) * (1.0 if torch.is_grad_enabled() else FORWARD)
        if isinstance(module, Supernet):
            self.supernet += passes
        else:
            self.network += passes
        if self.is_path or isinstance(module, Supernet):
            self.at_last_supernet = self.now
        self.is_path = False

    @property
    def now(self) -> tuple[float, float, float]:
        """Return passes through supernets and networks, and seconds of this process, since the start."""
        return self.supernet, self.network, time.process_time() - self.started


@dataclass(frozen=True)
class SupernetSearch:
    """A search of a study, with its folder.

    experiment: what is searched with, its seed included.  of_table: the experiment by which the table was made.
    mean_macs: of the table's networks, by which a pass through the supernet is weighed.
    """

    name: str
    folder: Path
    experiment: Experiment
    of_table: Experiment
    mean_macs: float

    def __call__(self) -> FoundFile:
        """Search, or read what was found. A search that was stopped begins again, so that its cost is counted whole."""
        before = self.before()
        if before is not None:
            return before
        if self.folder.is_dir() and not self.folder.is_symlink():
            shutil.rmtree(self.folder)
        counter = PassCounter()
        with heard_by(counter):
            data = self.data()
            chosen = search(self.folder, self.experiment, data, make_fabric(self.experiment.fabric))
        found = self._found(chosen, counter, data)
        write_json(self.folder / FOUND_FILE, found.model_dump(mode="json"))
        return found

    def before(self) -> FoundFile | None:
        """Return what the search found where it is over. Raises RunError where it was made with other settings."""
        path = self.folder / FOUND_FILE
        if not path.exists():
            return None
        found = read_as(path, FoundFile, "study")
        check_same_settings(found.settings, search_settings(self.experiment), self.folder)
        return found

    def data(self) -> ImageData:
        """Return the images, of which those of training are the ones that train the table's networks."""
        return searched_images(self.of_table)

    def _found(self, chosen: Genotype, counter: PassCounter, data: ImageData) -> FoundFile:
        table = CostTable(self.experiment.space.build(), derived_shape(self.experiment, data))
        alphas, relaxation = last_alphas(self.folder), self.experiment.search.relaxation.build()
        weight = supernet_macs(self.experiment, data) / self.mean_macs

        def cell(genotype: Genotype, spent: tuple[float, float, float]) -> FoundCell:
            supernet, network, seconds = spent
            return FoundCell(
                genotype=genotype_to_plain(genotype),
                passes=round(weight * supernet + network, 1),
                supernet_passes=round(supernet, 1),
                seconds=round(seconds, 2),
            )

        own = None
        if self.experiment.search.selection.candidates > 1:
            bounds = bounds_of(self.experiment.objectives)
            derived = derive_within_bounds(bounds, table, alphas.requires_grad_(), relaxation)
            own = cell(derived, counter.at_last_supernet)
        strengths = relaxation.strengths(table.space, alphas.detach())
        return FoundFile(
            settings=search_settings(self.experiment),
            chosen=cell(chosen, counter.now),
            own=own,
            entropy=tuple(entropies(strengths, table.space.mask)),
        )


def searched_images(of_table: Experiment) -> ImageData:
    """Return the images of a table's experiment, without those of training that its networks are validated on."""
    data = images_of(of_table.data)
    train = TrainingImages(of_table, data, make_fabric(of_table.fabric)).train
    return replace(data, train=train)


def searches_of(
    folder: Path, searches: Mapping[str, Experiment], of_table: Experiment, mean_macs: float, seeds: range
) -> Iterator[SupernetSearch]:
    """Yield every search with every seed, all searches of one seed before the next."""
    for seed in seeds:
        for name, experiment in searches.items():
            place = folder / "searches" / name / f"seed{seed}"
            yield SupernetSearch(name, place, seeded(experiment, seed), of_table, mean_macs)


def check_searches(searches: Mapping[str, Experiment], of_table: Experiment) -> None:
    """Raise ValueError that names the first search that the images, the bounds or the space refuse."""
    for name, experiment in searches.items():
        if experiment.space != of_table.space:
            raise ValueError(f"study.searches.{name}: its cells are not of the table's space; leave space= out")
        data, fabric = searched_images(of_table), make_fabric(experiment.fabric)
        try:
            BilevelSearch(experiment, data, fabric)
            if experiment.search.selection.pool is not None or experiment.study.judged_by_supernets:
                check_supernet_ranking(experiment, data, fabric)
        except ValueError as error:
            raise ValueError(f"study.searches.{name}: {error}") from error


def supernet_macs(experiment: Experiment, data: ImageData) -> float:
    """Return the MACs of an image in the supernet, which runs every operation of every edge, none of them left out.

    Where 1 / k of the channels go through the operations, these take 1 / k^2.
    """
    settings = experiment.search
    shape = data.network_shape(channels=settings.channels, layers=settings.layers)
    table = CostTable(experiment.space.build(), shape)
    operations = (table.edges[..., MACS] * table.space.mask).sum().item()
    return float(table.fixed[MACS].item() + operations / settings.partial_channels**2)


def last_alphas(folder: Path) -> Tensor:
    """Return the alphas at the end of a search, [cells, edges, columns]."""
    stored: dict[str, Tensor] = load(read_bytes(folder / "alphas.safetensors", LARGEST_JSON))
    return stored[max(stored)]


def entropies(strengths: Tensor, mask: Tensor) -> list[float]:
    """Return how undecided each edge is: the entropy of its strengths, as chances, over that of equal chances.

    strengths, mask: [cells, edges, operations], what an edge may hold.  Edges that may hold one operation are left out.

    >>> entropies(torch.tensor([[[0.5, 0.5], [1.0, 0.0]]]), torch.ones(1, 2, 2, dtype=torch.bool))
    [1.0, 0.0]
    """
    found = []
    for row, allowed in zip(strengths.flatten(0, 1).double(), mask.flatten(0, 1), strict=True):
        count = int(allowed.sum())
        if count > 1:
            chances = row[allowed].clamp_min(0)
            chances = chances / chances.sum().clamp_min(torch.finfo(torch.float64).tiny)
            entropy = torch.special.entr(chances).sum() / torch.tensor(float(count)).log()
            found.append(min(1.0, max(0.0, round(entropy.item(), 6))))
    return found
