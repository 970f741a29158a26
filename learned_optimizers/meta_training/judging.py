"""What optimizers are judged by: whole trainings on tasks, and their losses on the tasks' own scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_optimizers.architectures.registry import architecture
from learned_optimizers.meta_training.normalisation import (
    WINDOW,
    normalised,
    scales,
    start_scales,
    weights_of_steps,
)
from learned_optimizers.meta_training.unroll import Draw, curves, same_in_all
from learned_optimizers.tasks import Bucket, Task, TaskSplit
from learned_optimizers.theta import Theta


def theta_curves(theta: Theta, tasks: Sequence[Task], steps: int, *, seed: int, split: TaskSplit) -> Tensor:
    """Losses of a learned optimizer: [steps, tasks]; the starts and batches of a lane of `rate_curves`."""
    draw = Draw.of_trainings(tasks, seed=seed, split=split)
    return curves(architecture(theta.architecture), same_in_all(theta.tensors, len(tasks)), draw, steps)


@dataclass(frozen=True)
class Judging:
    """Tasks of a bucket on which theta is judged. scale: [tasks, 2], from `Scaling`."""

    theta: Theta
    bucket: Bucket
    indices: tuple[int, ...]
    task_seed: int
    steps: int
    cap: float
    scale: Tensor
    late: float = 0.0
    logarithmic: bool = False

    def __call__(self) -> Tensor:
        """Normalised losses on outer validation data, [3, tasks]: means of the training, of its last steps, and with
        `late` weights.
        """
        tasks = [self.bucket.task(self.task_seed, index) for index in self.indices]
        found = theta_curves(self.theta, tasks, self.steps, seed=self.task_seed, split="outer_validation")
        losses = normalised(found, self.scale, self.cap, logarithmic=self.logarithmic)
        weighted = weights_of_steps(0, self.steps, self.steps, self.late)[:, None] * losses
        return torch.stack([losses.mean(0), losses[-WINDOW:].mean(0), weighted.mean(0)])


JudgeMapper = Callable[[Callable[[Judging], Tensor], Iterable[Judging]], Iterable[Tensor]]
"""The built-in map, or that of a pool of processes; results in the order of the works."""


Score = dict[str, float]
"""Means over tasks: "mean" over a training, "last_mean" and "last_median" of its last steps, and "weighted"."""


@dataclass(frozen=True)
class ThetaExam:
    """Tasks that train nothing, on which thetas are judged: the same starts and batches for all, at all times.

    scales: of the tasks `indices` of each bucket, [tasks, 2].  steps: of a training.  late: of `weights_of_steps`.
    logarithmic: of `normalised`.
    """

    scales: Mapping[Bucket, Tensor]
    indices: tuple[int, ...]
    task_seed: int
    steps: int
    cap: float
    late: float = 0.0
    logarithmic: bool = False

    def scores(self, thetas: Sequence[Theta | None], mapper: JudgeMapper = map) -> list[Score]:
        """Judge each theta; the figures of None are NaN."""
        works = [self._judging(theta, bucket) for theta in thetas if theta is not None for bucket in self.scales]
        found = iter(list(mapper(Judging.__call__, works)))
        return [
            _score(None if theta is None else torch.cat([next(found) for _ in self.scales], dim=1)) for theta in thetas
        ]

    def _judging(self, theta: Theta, bucket: Bucket) -> Judging:
        figures = (self.task_seed, self.steps, self.cap, self.scales[bucket], self.late, self.logarithmic)
        return Judging(theta, bucket, self.indices, *figures)


def _score(losses: Tensor | None) -> Score:
    """Take means of [3, tasks], as `Judging` gives them."""
    if losses is None:
        return dict.fromkeys(("mean", "last_mean", "last_median", "weighted"), math.nan)
    whole, last, weighted = losses
    return {
        "mean": whole.mean().item(),
        "last_mean": last.mean().item(),
        "last_median": last.median().item(),
        "weighted": weighted.mean().item(),
    }


@dataclass(frozen=True)
class Scaling:
    """Tasks of a bucket whose scales are wanted. steps: of Adam's trainings; None to measure the start alone."""

    bucket: Bucket
    indices: tuple[int, ...]
    task_seed: int
    steps: int | None

    def __call__(self) -> Tensor:
        """Initial and best loss, or initial loss and 0: [tasks, 2]."""
        tasks = [self.bucket.task(self.task_seed, index) for index in self.indices]
        if self.steps is None:
            return start_scales(tasks, seed=self.task_seed)
        return scales(tasks, self.steps, seed=self.task_seed)
