"""A search on random images: what measurements of time and memory run, as a search runs it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.bilevel import BilevelSearch
from pipeline.data import ImageData, Images
from pipeline.run import make_fabric
from pipeline.settings import (
    DataSettings,
    Experiment,
    FabricSettings,
    ObjectiveSettings,
    SearchAttackSettings,
    SearchSettings,
    SpaceSettings,
)
from search_space.space import DARTS_OPERATIONS

CLASSES = 10


@dataclass(frozen=True)
class Size:
    """What a search step's time and memory depend on. search: further keys of SearchSettings."""

    channels: int = 16
    layers: int = 8
    batch: int = 16
    image_size: int = 32
    steps: int = 7
    operations: tuple[str, ...] = DARTS_OPERATIONS
    search: tuple[tuple[str, object], ...] = ()


def random_search(size: Size) -> BilevelSearch:
    """A search for accuracy and robustness whose epoch is one step on random colour images, one thread on the CPU."""
    torch.manual_seed(0)
    images = torch.randint(256, (2 * size.batch, 3, size.image_size, size.image_size), dtype=torch.uint8)
    labels = torch.arange(2 * size.batch) // 2 % CLASSES  # each class twice, for the split in halves
    everything = Images(images, labels)
    data = ImageData("random", everything, everything, tuple(map(str, range(CLASSES))))
    experiment = Experiment(
        data=DataSettings(),
        space=SpaceSettings(operations=size.operations),
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
        fabric=FabricSettings(threads=1),
    )
    return BilevelSearch(experiment, data, make_fabric(experiment.fabric))
