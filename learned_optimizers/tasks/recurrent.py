"""Sequences for a small recurrent network: say again what was read, or the parity of what was read so far."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from learned_optimizers.tasks.data import all_sequences
from learned_optimizers.tasks.networks import draw, recurrent, recurrent_shapes
from learned_optimizers.tasks.task import Configuration, Task, TaskTensors, uniform


@dataclass(frozen=True)
class SequenceConfiguration(Configuration):
    """hidden: units of the network.  length: symbols of a sequence.  gain: of the initial weights."""

    hidden: int
    length: int
    gain: float


class SequenceTask(Task):
    """Cross entropy of an Elman network that writes a symbol at each time."""

    variants: ClassVar[tuple[tuple[int, int], ...]]  # hidden units, length
    symbols: ClassVar[int]
    configuration: SequenceConfiguration

    def __init__(self, family: str, seed: int, index: int) -> None:
        generator = Configuration(family, seed, index).generator("configuration")
        hidden, length = self.variants[index % len(self.variants)]
        self.configuration = SequenceConfiguration(family, seed, index, hidden, length, uniform(0.7, 1.5, generator))

    @property
    def bucket(self) -> tuple[object, ...]:
        """Family, units and length."""
        return (self.configuration.family, self.configuration.hidden, self.configuration.length)

    @cached_property
    def data(self) -> TaskTensors:
        """Inputs [N, time, symbols + 1], one-hot, and what is to be written [N, time]."""
        generator = self.configuration.generator("data")
        return self.examples(all_sequences(self.symbols, self.configuration.length, generator))

    @abstractmethod
    def examples(self, sequences: Tensor) -> TaskTensors:
        """Inputs and targets of sequences [N, length]."""

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Gaussian weights."""
        shapes = recurrent_shapes(self.symbols + 1, self.configuration.hidden, self.symbols)
        return draw(shapes, self.configuration.gain, generator)

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Cross entropy in nats, of the times that have a target."""
        inputs, targets = samples
        written = targets.shape[1]
        return F.cross_entropy(recurrent(params, inputs)[:, -written:].flatten(0, 1), targets.flatten())


class Copy(SequenceTask):
    """Read a sequence, then write it while the input is blank (Hochreiter & Schmidhuber 1997; here a few symbols)."""

    variants = ((12, 4), (16, 3))
    symbols = 4

    def examples(self, sequences: Tensor) -> TaskTensors:
        """Return the sequence followed by blanks; the sequence."""
        blanks = torch.full_like(sequences, self.symbols)
        return F.one_hot(torch.cat([sequences, blanks], 1), self.symbols + 1).float(), sequences


class Parity(SequenceTask):
    """Write at each time whether the number of ones so far is odd."""

    variants = ((10, 7),)
    symbols = 2

    def examples(self, sequences: Tensor) -> TaskTensors:
        """Return the bits; their running parity."""
        return F.one_hot(sequences, self.symbols + 1).float(), sequences.cumsum(1) % 2
