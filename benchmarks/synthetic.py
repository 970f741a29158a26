"""A search on random images: what measurements of time and memory run, as a search runs it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from pipeline.compute.fabric import make_fabric
from pipeline.data import ImageData, Images
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.settings import (
    DataSettings,
    Experiment,
    FabricSettings,
    ObjectiveSettings,
    SearchAttackSettings,
    SearchSettings,
    SpaceSettings,
)
from search_space.cells.choices import DARTS_OPERATIONS

CLASSES = 10
ONE_THREAD = FabricSettings(threads=1)


@dataclass(frozen=True)
class Size:
    """What a search step's time and memory depend on. search: further keys of SearchSettings."""

    channels: int = 16
    layers: int = 8
    batch: int = 16
    image_size: int = 32
    steps: int = 7
    operations: tuple[str, ...] = DARTS_OPERATIONS
    nodes: int = 4
    search: tuple[tuple[str, object], ...] = ()


def random_data(size: Size) -> ImageData:
    """Colour images for two batches; each class twice, for a split in halves."""
    generator = torch.Generator().manual_seed(0)
    shape = (2 * size.batch, 3, size.image_size, size.image_size)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    everything = Images(images, torch.arange(2 * size.batch) // 2 % CLASSES)
    return ImageData("random", everything, everything, tuple(map(str, range(CLASSES))))


def random_search(size: Size, where: FabricSettings = ONE_THREAD, fabric: Fabric | None = None) -> BilevelSearch:
    """A search for accuracy and robustness whose epoch is one step on random images, one thread on the CPU.

    fabric: that is launched already, with the settings `where`.
    """
    experiment = Experiment(
        data=DataSettings(),
        space=SpaceSettings(operations=size.operations, nodes=size.nodes),
        objectives=ObjectiveSettings(names=("accuracy", "robustness")),
        attack=SearchAttackSettings(steps=size.steps),
        search=SearchSettings(
            channels=size.channels,
            layers=size.layers,
            batch_size=size.batch,
            derived_channels=size.channels,
            derived_layers=size.layers,
            **dict(size.search),
        ),
        fabric=where,
    )
    return BilevelSearch(experiment, random_data(size), fabric or make_fabric(where))
