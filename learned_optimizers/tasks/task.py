"""What an inner task is: parameters to be trained, a loss, and data in four splits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar, Literal, get_args

import torch
from numpy.random import SeedSequence
from torch import Tensor

TaskSplit = Literal["train", "inner_validation", "outer_validation", "test"]
"""What the inner loop trains on, what it may look at, what theta is trained on, and what theta is judged on."""

SPLITS: tuple[TaskSplit, ...] = get_args(TaskSplit)
SPLIT_SHARES = (0.55, 0.15, 0.15, 0.15)  # of the data, in the order of SPLITS

TaskTensors = tuple[Tensor, ...]


def seeded_generator(*parts: int | str) -> torch.Generator:
    """A generator for one purpose, from the names and numbers that tell purposes apart."""
    words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "big") for part in parts]
    return torch.Generator().manual_seed(int(SeedSequence(words).generate_state(1)[0]))


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number from U(low, high)."""
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


@dataclass(frozen=True)
class Configuration:
    """All that tells a task from others; what JSON holds. Each family adds its own numbers."""

    family: str
    seed: int
    index: int

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers of this task for one purpose."""
        return seeded_generator(self.seed, self.family, self.index, purpose)


class Task(ABC):
    """One task. Those of a bucket have the same shapes and loss, so that many run in one call of vmap.

    A task is a pure function of its family's name, a seed and its index, and stores nothing.
    """

    batch_size: ClassVar[int] = 32
    configuration: Configuration

    @property
    @abstractmethod
    def bucket(self) -> tuple[Any, ...]:
        """Return what shapes and loss depend on."""

    @abstractmethod
    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Return parameters to start from."""

    @abstractmethod
    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """A scalar, mean over the samples [size, ...]; pure, and the same function for all tasks of a bucket."""

    @property
    def spectrum(self) -> tuple[float, float] | None:
        """Return bounds of the eigenvalues of the family's Hessians; None where they are not known."""
        return None

    @cached_property
    def constants(self) -> TaskTensors:
        """Tensors of the loss that every batch shares."""
        return ()

    @cached_property
    def data(self) -> TaskTensors:
        """Make all samples, tensors [N, ...] in an order that does not matter; empty where the loss needs none."""
        return ()

    def part(self, split: TaskSplit) -> TaskTensors:
        """Return the samples of one split; no sample is in two."""
        bounds = [0.0, *accumulate(SPLIT_SHARES)]
        place = SPLITS.index(split)
        return tuple(
            tensor[round(bounds[place] * len(tensor)) : round(bounds[place + 1] * len(tensor))] for tensor in self.data
        )

    def samples(self, split: TaskSplit, steps: int, size: int, generator: torch.Generator) -> TaskTensors:
        """Batches for many steps at once, drawn with replacement: tensors [steps, size, ...]."""
        part = self.part(split)
        if not part:
            return ()
        chosen = torch.randint(len(part[0]), (steps, size), generator=generator)
        return tuple(tensor[chosen] for tensor in part)
