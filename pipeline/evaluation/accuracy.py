"""Accuracy: the images that are classified right, of all that were tried, with its interval and by class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Annotated, Any, Literal, NotRequired, Self

import torch
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, with_config
from scipy.stats import binomtest
from scipy.stats import t as student
from torch import Tensor, nn
from typing_extensions import TypedDict

from attacks.registry import EVALUATION_ATTACKS
from pipeline.runs.schemas import EXACT, adapter_of, checked, first_error

CLEAN = "clean"
SHARE_ROUNDING = 1e-9  # of a share that was computed twice


AttackCall = TypedDict("AttackCall", {"class": str, "arguments": dict[str, Any], "target": NotRequired[int]})


@with_config(ConfigDict(extra="allow", strict=True, allow_inf_nan=False))
class CaseSettings(TypedDict, total=False):
    """Those settings of a case that are shown, drawn or compared; there may be others."""

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
        adapter_of(CaseSettings).validate_python(settings)
    except ValidationError as error:
        raise ValueError(first_error(error)) from None
    return settings


def check_share(right: int, images: int, accuracy: float, low: float, high: float) -> None:
    """Raise ValueError unless accuracy is `right` of `images`, and lies in an interval [low, high] inside [0, 1]."""
    if not 0 <= right <= images or images < 1:
        raise ValueError(f"expected 0 <= right <= images and at least one image, found {right} of {images}")
    if not math.isclose(accuracy, right / images, abs_tol=SHARE_ROUNDING):
        raise ValueError(f"expected an accuracy of {right} / {images} = {right / images:.6g}, found {accuracy:.6g}")
    if not (0 <= low <= high <= 1 and low - SHARE_ROUNDING <= accuracy <= high + SHARE_ROUNDING):
        raise ValueError(f"expected 0 <= low <= {accuracy:.6g} <= high <= 1, found [{low:.6g}, {high:.6g}]")


@dataclass(frozen=True)
class Accuracy:
    """Images that are classified right, of all that were tried; [low, high] is the 95 % Wilson interval.

    right_by_class: the same by class, which add up to `right`; empty where they were not counted.
    draws: passes of a network that draws at random. Then `right` is their sum, the accuracy their mean, `spread` their
    sample deviation, and the interval is that of `interval_over_draws`.
    zero_gradient: the attack followed a gradient that is zero, and so says nothing of robustness.
    forwards, backwards: images that passed through the network for it, each time counted anew; 0 where not counted.
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
    draws: int = 1
    spread: float = 0.0
    zero_gradient: bool = False
    forwards: Annotated[int, Field(ge=0)] = 0
    backwards: Annotated[int, Field(ge=0)] = 0
    __pydantic_config__ = EXACT

    def __post_init__(self) -> None:
        if self.draws < 1 or self.spread < 0:
            raise ValueError(
                f"expected draws of at least 1 and a spread of at least 0, found {self.draws} and {self.spread:.6g}"
            )
        check_share(self.right, self.images * self.draws, self.accuracy, self.low, self.high)
        if self.seconds < 0:
            raise ValueError(f"expected seconds of at least 0, found {self.seconds:.6g}")
        if self.right_by_class and (min(self.right_by_class) < 0 or sum(self.right_by_class) != self.right):
            raise ValueError(
                f"expected right_by_class of at least 0 that add up to {self.right}, found {list(self.right_by_class)}"
            )

    def share_of_class(self, index: int, images: int) -> float:
        """Return the accuracy on one class, of which there were so many images; 0 where there were none."""
        return self.right_by_class[index] / max(images * self.draws, 1)

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return what a file holds of one. Raises ValueError that names the field when it is something else."""
        return checked(row, cls, "an accuracy")


def accuracy_of(name: str, settings: dict[str, Any], by_class: list[int], images: int, seconds: float) -> Accuracy:
    """Compute an accuracy from counts of images classified right."""
    right = sum(by_class)
    low, high = wilson_interval(right, images)
    return Accuracy(name, settings, right, images, right / images, low, high, seconds, tuple(by_class))


def accuracy_over_draws(name: str, settings: dict[str, Any], by_class: Tensor, images: int, seconds: float) -> Accuracy:
    """Compute an accuracy from counts of images classified right, int64 [draws, classes]."""
    rights, total = by_class.sum(dim=1).tolist(), by_class.sum(dim=0).tolist()
    if len(rights) == 1:
        return accuracy_of(name, settings, total, images, seconds)
    right, tried = sum(total), images * len(rights)
    interval = interval_over_draws(rights, images)
    spread = stdev(rights) / images
    return Accuracy(name, settings, right, images, right / tried, *interval, seconds, tuple(total), len(rights), spread)


def right_in_draws(network: nn.Module, images: Tensor, labels: Tensor, draws: int) -> Tensor:
    """Return which images the network classifies correctly in each of so many passes, bool [draws, N]."""
    return torch.stack([classified_right(network, images, labels) for _ in range(draws)])


def count_in_draws(labels: Tensor, right: Tensor, num_classes: int) -> Tensor:
    """Return images of each class that are right in each draw, int64 [draws, classes]. right: bool [draws, N]."""
    return torch.stack([count_by_class(labels[draw], num_classes) for draw in right])


def count_by_class(labels: Tensor, num_classes: int) -> Tensor:
    """Return the number of images of each class, int64 [num_classes], on the CPU."""
    return torch.bincount(labels.cpu(), minlength=num_classes)


@torch.no_grad()
def classified_right(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return which images the network classifies correctly, bool [N]."""
    right: Tensor = network(images).argmax(dim=1) == labels
    return right


def interval_over_draws(rights: Sequence[int], images: int) -> tuple[float, float]:
    """95 % interval of a mean accuracy over draws of a random network, on images that are a sample too.

    rights: images classified right in each draw, two or more. Each side is as far from the mean as the root of the sum
    of two squares: the distance of Wilson's interval on so many images, and Student's half width for the mean of the
    draws. A draw's accuracy scatters with its images as well, so that this is rather too wide than too narrow.
    """
    mean = fmean(rights) / images
    low, high = wilson_interval(round(fmean(rights)), images)
    drawn = float(student.ppf(0.975, len(rights) - 1)) * stdev(rights) / len(rights) ** 0.5 / images
    return max(0.0, mean - math.hypot(mean - low, drawn)), min(1.0, mean + math.hypot(high - mean, drawn))


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927)."""
    interval = binomtest(right, images).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def interval_in_words(accuracy: Accuracy) -> str:
    """Write its 95 % interval, in %."""
    return f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}"


def strongest(results: Mapping[str, Sequence[Accuracy]]) -> str:
    """Return the attack that all measured runs met and that leaves the least accuracy; `clean` where there is none.

    Of one norm: Linf, unless no run met an attack in it. Of attacks that leave as much, the last of EVALUATION_ATTACKS,
    where AutoAttack stands.
    """
    accuracies: dict[str, list[float]] = {}
    norms = {result.settings.get("norm", "Linf") for run in results.values() for result in run if result.settings}
    norm = "L2" if norms == {"L2"} else "Linf"
    for result in (result for run in results.values() for result in run):
        if result.settings.get("norm", norm) == norm:
            accuracies.setdefault(result.attack, []).append(result.accuracy)
    measured = sum(bool(run) for run in results.values())
    shared = {attack: sum(values) for attack, values in accuracies.items() if len(values) == measured}
    attacked = {attack: total for attack, total in shared.items() if attack != CLEAN}
    order = {attack: place for place, attack in enumerate(EVALUATION_ATTACKS)}
    return min(attacked, key=lambda attack: (attacked[attack], -order.get(attack, -1)), default=CLEAN)
