"""Accuracy: the images that are classified right, of all that were tried, with its interval and by class."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Self

import torch
from lightning_fabric import Fabric
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, with_config
from scipy.stats import binomtest
from torch import Tensor, nn
from typing_extensions import TypedDict

from pipeline.data import ImageSet
from pipeline.processes import done_by_all, share_of, sum_over_processes
from pipeline.progress import Bar
from pipeline.schemas import EXACT, adapter_of, checked, first_error
from pipeline.seeds import seed_stream, stream_seed

CLEAN = "clean"
ROUNDING = 1e-9  # of a share that was computed twice


AttackCall = TypedDict("AttackCall", {"class": str, "arguments": dict[str, Any], "target": NotRequired[int]})


@with_config(ConfigDict(extra="allow", strict=True, allow_inf_nan=False))
class TrialSettings(TypedDict, total=False):
    """Those settings of a trial that are shown, drawn or compared; there may be others."""

    name: str
    attacks: list[AttackCall]
    norm: Literal["Linf", "L2"]
    eps: Annotated[float, Field(gt=0)]
    restarts: int
    seed: int
    version: str
    corruption: str
    severity: Annotated[int, Field(ge=1)]


def _check_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError that names the key unless they are such settings."""
    try:
        adapter_of(TrialSettings).validate_python(settings)
    except ValidationError as error:
        raise ValueError(first_error(error)) from None
    return settings


def check_share(right: int, images: int, accuracy: float, low: float, high: float) -> None:
    """Raise ValueError unless accuracy is `right` of `images`, and lies in an interval [low, high] inside [0, 1]."""
    if not 0 <= right <= images or images < 1:
        raise ValueError(f"expected 0 <= right <= images and at least one image, found {right} of {images}")
    if not math.isclose(accuracy, right / images, abs_tol=ROUNDING):
        raise ValueError(f"expected an accuracy of {right} / {images} = {right / images:.6g}, found {accuracy:.6g}")
    if not (0 <= low <= high <= 1 and low - ROUNDING <= accuracy <= high + ROUNDING):
        raise ValueError(f"expected 0 <= low <= {accuracy:.6g} <= high <= 1, found [{low:.6g}, {high:.6g}]")


@dataclass(frozen=True)
class Accuracy:
    """Images that are classified right, of all that were tried; [low, high] is the 95 % Wilson interval.

    right_by_class: the same by class, which add up to `right`; empty where they were not counted.
    Raises ValueError when the figures contradict one another.
    """

    attack: str
    settings: Annotated[dict[str, Any], AfterValidator(_check_settings)]
    right: int
    images: int
    accuracy: float
    low: float
    high: float
    seconds: float
    right_by_class: tuple[int, ...] = ()
    __pydantic_config__ = EXACT

    def __post_init__(self) -> None:
        check_share(self.right, self.images, self.accuracy, self.low, self.high)
        if self.seconds < 0:
            raise ValueError(f"expected seconds of at least 0, found {self.seconds:.6g}")
        if self.right_by_class and (min(self.right_by_class) < 0 or sum(self.right_by_class) != self.right):
            raise ValueError(
                f"expected right_by_class of at least 0 that add up to {self.right}, found {list(self.right_by_class)}"
            )

    @classmethod
    def of(cls, row: Any) -> Self:
        """What a file holds of one. Raises ValueError that names the field when it is something else."""
        return checked(row, cls, "an accuracy")


@dataclass(frozen=True)
class Trial:
    """Something that is done to images before they are classified.

    settings: all that repeats it, as plain JSON values; with `name`, what tells it from other trials.
    change: images [N, C, H, W] in [0, 1] and labels [N] -> such images; None leaves them as they are.
    is_attack: only images that are classified right are changed, and the others count as wrong.
    generator: what `change` draws from, on the CPU; it is seeded anew for each batch.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Tensor, Tensor], Tensor] | None = None
    is_attack: bool = True
    generator: torch.Generator | None = None


def measure(
    network: nn.Module,
    images: ImageSet,
    trial: Trial,
    *,
    num_classes: int,
    batch_size: int,
    seed: int,
    fabric: Fabric,
    bar: Bar,
) -> Accuracy:
    """Accuracy in one trial on all `images`, which the processes share; the same with any number of them.

    seed: of all that is drawn, with the trial's name and the number of the batch.
    """
    started, seen, batches = time.monotonic(), 0, -(-len(images) // batch_size)
    by_class = torch.zeros(num_classes, dtype=torch.int64)
    for batch, inputs, labels in images.shared_batches(batch_size, share_of(fabric)):
        _seed(trial, seed, batch)
        with fabric.autocast():
            correct = _right_in(trial, network, inputs, labels)
        by_class += count_by_class(labels[correct], num_classes)
        seen += len(labels)
        bar.advance(f"{trial.name} {int(by_class.sum()) / seen:.1%}", by=done_by_all(fabric, batch, batches))
    by_class = sum_over_processes(fabric, by_class)
    seconds = round(time.monotonic() - started, 2)
    return accuracy_of(trial.name, trial.settings, by_class.tolist(), len(images), seconds)


def _seed(trial: Trial, seed: int, batch: int) -> None:
    seed_stream(seed, "evaluate", trial.name, batch)  # a network that holds noise draws from the global generators
    if trial.generator is not None:
        trial.generator.manual_seed(stream_seed(seed, "change", trial.name, batch))


def accuracy_of(name: str, settings: dict[str, Any], by_class: list[int], images: int, seconds: float) -> Accuracy:
    """From counts of images classified right."""
    right = sum(by_class)
    low, high = wilson_interval(right, images)
    return Accuracy(name, settings, right, images, right / images, low, high, seconds, tuple(by_class))


def _right_in(trial: Trial, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """[N] booleans."""
    if trial.change is not None and not trial.is_attack:
        return classified_right(network, trial.change(images, labels), labels)
    correct = classified_right(network, images, labels)
    if trial.change is not None and correct.any():
        attacked = trial.change(images[correct], labels[correct])
        correct[correct.clone()] = classified_right(network, attacked, labels[correct])
    return correct


def count_by_class(labels: Tensor, num_classes: int) -> Tensor:
    """Number of images of each class, int64 [num_classes], on the CPU."""
    return torch.bincount(labels.cpu(), minlength=num_classes)


@torch.no_grad()
def classified_right(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """[N] booleans."""
    right: Tensor = network(images).argmax(dim=1) == labels
    return right


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927)."""
    interval = binomtest(right, images).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
