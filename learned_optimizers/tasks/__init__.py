"""Tasks to train optimizers on: task i of a family is a pure function of (seed, i), so that thousands cost no storage.

task = sample_task("mlp_digits", seed=0, index=7)
params = task.initial(torch.Generator().manual_seed(0))
(batch,) = zip(*task.samples("train", 1, task.batch_size, generator))      # tensors [size, ...]
task.loss(params, task.constants, batch)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from itertools import count
from typing import NamedTuple

from learned_optimizers.tasks.classifiers import Autoencoder, ConvClassifier, MlpClassifier
from learned_optimizers.tasks.recurrent import Copy, Parity
from learned_optimizers.tasks.surfaces import Quadratic, SurfaceTask
from learned_optimizers.tasks.task import SPLITS, Configuration, Split, Task, Tensors, seeded_generator

FAMILIES: Mapping[str, Callable[[str, int, int], Task]] = {
    "mlp_digits": partial(MlpClassifier, source="digits"),
    "mlp_clusters": partial(MlpClassifier, source="clusters"),
    "conv_digits": partial(ConvClassifier, source="digits"),
    "conv_images": partial(ConvClassifier, source="images"),
    "autoencoder_digits": partial(Autoencoder, source="digits"),
    "autoencoder_clusters": partial(Autoencoder, source="clusters"),
    "copy": Copy,
    "parity": Parity,
    "surfaces": partial(SurfaceTask, surfaces=("rosenbrock", "booth", "himmelblau", "matyas")),
    "beale": partial(SurfaceTask, surfaces=("beale",)),
    "quadratics": Quadratic,
}

HELD_OUT = ("conv_images", "autoencoder_digits", "parity", "beale")
"""Families that no shipped optimizer was trained on."""

TRAINED_ON = tuple(name for name in FAMILIES if name not in HELD_OUT)

KEPT_TASKS = 256  # in memory, with their data; an older one is drawn again


@lru_cache(KEPT_TASKS)
def sample_task(family: str, seed: int, index: int) -> Task:
    """Task `index` of a family. Raises ValueError for a family that there is not."""
    if family not in FAMILIES:
        raise ValueError(f"expected a family of tasks ({', '.join(FAMILIES)}), found {family!r}")
    if index < 0 or seed < 0:
        raise ValueError(f"expected seed and index of a task from 0 up, found {seed} and {index}")
    return FAMILIES[family](family, seed, index)


class Bucket(NamedTuple):
    """Tasks that run in one call: those of a family whose index is `variant`, plus a multiple of its variants."""

    family: str
    variant: int

    def task(self, seed: int, index: int) -> Task:
        """Task `index` of this bucket."""
        return sample_task(self.family, seed, self.variant + index * variants(self.family))


@cache
def variants(family: str) -> int:
    """Number of buckets of a family: its tasks take turns. Raises ValueError for a family that there is not."""
    first = sample_task(family, 0, 0).bucket
    return next(index for index in count(1) if sample_task(family, 0, index).bucket == first)


def buckets(families: Sequence[str]) -> list[Bucket]:
    """All buckets of the families, in their order."""
    return [Bucket(family, variant) for family in families for variant in range(variants(family))]


__all__ = [
    "FAMILIES",
    "HELD_OUT",
    "SPLITS",
    "TRAINED_ON",
    "Bucket",
    "Configuration",
    "Split",
    "Task",
    "Tensors",
    "buckets",
    "sample_task",
    "seeded_generator",
]
