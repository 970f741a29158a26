"""What optimizers are judged by: whole trainings on tasks, and their losses on the tasks' own scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_optimizers.architectures.registry import architecture
from learned_optimizers.meta_training.normalisation import WINDOW, normalised, scales, weights_of_steps
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


@dataclass(frozen=True)
class Scaling:
    """Tasks of a bucket whose scales are wanted."""

    bucket: Bucket
    indices: tuple[int, ...]
    task_seed: int
    steps: int

    def __call__(self) -> Tensor:
        """Initial and best loss: [tasks, 2]."""
        return scales(
            [self.bucket.task(self.task_seed, index) for index in self.indices], self.steps, seed=self.task_seed
        )
