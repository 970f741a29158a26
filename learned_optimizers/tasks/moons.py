"""Two moons: a small network that tells two noisy half circles apart, on all points at once (arXiv 2011.02159)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from learned_optimizers.tasks.networks import dense, dense_shapes, draw
from learned_optimizers.tasks.task import Configuration, Task, TaskSplit, TaskTensors

POINTS, NOISE = 1024, 0.1
WIDTHS = (2, 16, 2)
PENALTY = 5e-3  # times the sum of squares of the parameters


class MoonsTask(Task):
    """Cross entropy of a perceptron, plus a penalty on the size of its weights; a batch is the whole split."""

    def __init__(self, family: str, seed: int, index: int) -> None:
        self.configuration = Configuration(family, seed, index)

    @property
    def bucket(self) -> tuple[object, ...]:
        """Return the family: all its tasks have the same network."""
        return (self.configuration.family,)

    @cached_property
    def data(self) -> TaskTensors:
        """Points [1024, 2] about the origin, of deviation 1, and their moons [1024], in a random order."""
        generator = self.configuration.generator("data")
        angles = pi * torch.rand(POINTS, generator=generator)
        moons = torch.arange(POINTS) % 2
        circle = torch.stack([angles.cos(), angles.sin()], dim=1)
        other = torch.tensor([1.0, 0.5]) - circle
        points = torch.where(moons[:, None] == 0, circle, other) + NOISE * torch.randn(POINTS, 2, generator=generator)
        return (points - points.mean(0)) / points.std(0), moons

    def samples(self, split: TaskSplit, steps: int, size: int, generator: torch.Generator) -> TaskTensors:
        """Return all points of the split in each step: tensors [steps, points, ...]; nothing is drawn."""
        return tuple(tensor.expand(steps, *tensor.shape) for tensor in self.part(split))

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Gaussian weights."""
        return draw(dense_shapes(WIDTHS), 1.0, generator)

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Cross entropy in nats, with the penalty."""
        points, moons = samples
        penalty = torch.stack([param.square().sum() for param in params]).sum()
        return F.cross_entropy(dense(params, points, "tanh"), moons) + PENALTY * penalty
