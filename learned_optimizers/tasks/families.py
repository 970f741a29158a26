"""Families of tasks. Task i of a family is a pure function of (seed, i), so that thousands cost no storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from on_demand import Option, chosen

if TYPE_CHECKING:
    from learned_optimizers.tasks.task import Task


def _family(label: str, meaning: str, task: str, **arguments: Any) -> Option:
    """Make an entry. task: "module:class" of its tasks, which takes the arguments."""
    return Option(label=label, meaning=meaning, code=f"learned_optimizers.tasks.{task}", arguments=arguments)


def _rescaled(label: str, of: str) -> Option:
    """Make an entry of the tasks of another family in other units."""
    meaning = f"those of {of} in other units of inputs, loss and weights"
    return _family(f"{label}, rescaled", meaning, "rescaled:Rescaled", of=of)


MLP, CONV, AUTOENCODER = (f"classifiers:{name}" for name in ("MlpClassifier", "ConvClassifier", "Autoencoder"))
WIDE = "classifiers:WideMlpClassifier"
SURFACES = ("rosenbrock", "booth", "himmelblau", "matyas")
TASK_FAMILIES: Mapping[str, Option] = {
    "mlp_digits": _family("MLPs, digits", "perceptrons that classify digits", MLP, source="digits"),
    "mlp_clusters": _family("MLPs, clusters", "perceptrons that classify points of clusters", MLP, source="clusters"),
    "conv_digits": _family("convolutions, digits", "small CNNs that classify digits", CONV, source="digits"),
    "conv_images": _family("convolutions, images", "small CNNs that classify drawn images", CONV, source="images"),
    "autoencoder_digits": _family("autoencoders, digits", "autoencoders of digits", AUTOENCODER, source="digits"),
    "autoencoder_clusters": _family(
        "autoencoders, clusters", "autoencoders of points of clusters", AUTOENCODER, source="clusters"
    ),
    "copy": _family("copying", "recurrent networks that repeat a sequence", "recurrent:Copy"),
    "parity": _family("parity", "recurrent networks that tell the parity of a sequence", "recurrent:Parity"),
    "surfaces": _family("surfaces", "four test functions of two numbers", "surfaces:SurfaceTask", surfaces=SURFACES),
    "beale": _family("Beale", "Beale's function of two numbers", "surfaces:SurfaceTask", surfaces=("beale",)),
    "quadratics": _family("quadratics", "noisy quadratics of a given spectrum", "surfaces:Quadratic"),
    "wide_mlp_digits": _family("wider MLPs, digits", "perceptrons of 64 and more units", WIDE, source="digits"),
    "rescaled_mlp_digits": _rescaled("MLPs, digits", of="mlp_digits"),
    "rescaled_wide_mlp_digits": _rescaled("wider MLPs, digits", of="wide_mlp_digits"),
    "rescaled_mlp_clusters": _rescaled("MLPs, clusters", of="mlp_clusters"),
    "rescaled_conv_digits": _rescaled("convolutions, digits", of="conv_digits"),
    "rescaled_autoencoder_clusters": _rescaled("autoencoders, clusters", of="autoencoder_clusters"),
    "quadratics_5": _family("5-D quadratics", "quadratics of five numbers, without noise", "surfaces:ExactQuadratic"),
    "rosenbrock": _family(
        "Rosenbrock", "Rosenbrock's function of two numbers", "surfaces:SurfaceTask", surfaces=("rosenbrock",)
    ),
    "moons": _family("two moons", "perceptrons that tell two moons apart, on all points at once", "moons:MoonsTask"),
}

HELD_OUT = ("conv_images", "autoencoder_digits", "parity", "beale")
"""Families that no shipped optimizer was trained on."""

OF_ANY_SCALE = tuple(name for name in TASK_FAMILIES if name.startswith(("rescaled_", "wide_")))
"""Families for optimizers that are to train networks of any width and units."""

ANALYSED = ("quadratics_5", "rosenbrock", "moons")
"""The tasks of arXiv 2011.02159, on which it is analysed what an optimizer does; no other optimizer trains on them."""

TRAINED_ON = tuple(name for name in TASK_FAMILIES if name not in (*HELD_OUT, *OF_ANY_SCALE, *ANALYSED))

KEPT_TASKS = 256  # in memory, with their data; an older one is drawn again


@lru_cache(KEPT_TASKS)
def sample_task(family: str, seed: int, index: int) -> Task:
    """Task `index` of a family. Raises ValueError for a family that there is not."""
    make = chosen("a family of tasks", TASK_FAMILIES, family)
    if index < 0 or seed < 0:
        raise ValueError(f"expected seed and index of a task from 0 up, found {seed} and {index}")
    task: Task = make.load()(family, seed, index)
    return task


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
