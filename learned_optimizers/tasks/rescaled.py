"""Tasks in other units: what an optimizer of any network has to do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from learned_optimizers.tasks.families import sample_task
from learned_optimizers.tasks.task import Configuration, Task, TaskTensors, uniform

INPUTS, LOSSES, WEIGHTS = (-1.0, 1.0), (-2.0, 2.0), (-3.0, 3.0)  # of the logarithms to base 10


@dataclass(frozen=True)
class RescaledConfiguration(Configuration):
    """of: the family of the task itself.  inputs, loss: factors on them.  weights: p = weights * parameter."""

    of: str
    inputs: float
    loss: float
    weights: float


class Rescaled(Task):
    """A task of another family with factors on its inputs, its loss and its weights, drawn over orders of magnitude.

    Weights are reparametrised as in Celo2 (ICLR 2026), but for vectors: biases start at 0, which has no size.
    """

    configuration: RescaledConfiguration

    def __init__(self, family: str, seed: int, index: int, of: str) -> None:
        self.inner = sample_task(of, seed, index)
        self.batch_size = self.inner.batch_size  # type: ignore[misc] # of a class elsewhere
        generator = Configuration(family, seed, index).generator("configuration")
        inputs, loss, weights = (10 ** uniform(*bounds, generator) for bounds in (INPUTS, LOSSES, WEIGHTS))
        self.configuration = RescaledConfiguration(family, seed, index, of, inputs, loss, weights)

    @property
    def bucket(self) -> tuple[object, ...]:
        """That of the task itself."""
        return (self.configuration.family, *self.inner.bucket)

    @cached_property
    def constants(self) -> TaskTensors:
        """Factors on loss and weights, and what the task itself has."""
        return (torch.tensor(self.configuration.loss), torch.tensor(self.configuration.weights), *self.inner.constants)

    @cached_property
    def data(self) -> TaskTensors:
        """Return the samples with inputs in other units."""
        inputs, *others = self.inner.data
        return self.configuration.inputs * inputs, *others

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Return parameters that stand for the same weights."""
        return [p / self._factor(p, self.constants[1]) for p in self.inner.initial(generator)]

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Return the task's loss in another unit."""
        unit, factor, *others = constants
        weights = [p * self._factor(p, factor) for p in params]
        return unit * self.inner.loss(weights, tuple(others), samples)

    @staticmethod
    def _factor(parameter: Tensor, factor: Tensor) -> Tensor:
        return factor if parameter.dim() > 1 else torch.ones_like(factor)
