"""A task: a network, what it learns from, and for how long."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from generalisation_tasks import data, images, sequences
from learned_optimizers.tasks import seeded_generator

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "perceptron": images.perceptron,
    "autoencoder": images.autoencoder,
    "conv_autoencoder": images.conv_autoencoder,
    "convolutions": images.convolutions,
    "residual_convolutions": images.residual_convolutions,
    "residual_perceptron": images.residual_perceptron,
    "cell": images.cell_network,
    "supernet": images.supernet,
    "recurrent": sequences.recurrent,
    "attention": sequences.attention,
}
SEQUENCES = ("recurrent", "attention")


@dataclass(frozen=True)
class BenchmarkTask:
    """A training, but for its optimizer and its seed.

    name: what no other task of any list has.  family: under which it is counted.  source: of the examples.
    network: out of NETWORKS.  sizes: its keywords.  unit: factor on the loss, as of a loss in other units.
    """

    name: str
    family: str
    source: str
    network: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 64
    steps: int = 200
    loss: str = "cross entropy"
    unit: float = 1.0

    @property
    def needs_cifar(self) -> bool:
        """Return whether it learns from the images of a folder."""
        return self.source.startswith(data.CIFAR)

    @property
    def fingerprint(self) -> str:
        """Tell the same training from another one of the same name."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()[:12]

    def examples(self, folder: Path | None = None) -> data.Examples:
        """Make what it learns from. folder: of CIFAR-10."""
        return data.examples(self.source, folder)

    def build(self, examples: data.Examples, seed: int) -> nn.Module:
        """Make the network, with initial values of a seed; torch's global generator is left as it was."""
        sizes = dict(self.sizes)
        if self.network in SEQUENCES:
            sizes |= {"symbols": examples.symbols, "writes_once": examples.train[1].dim() == 1}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded_generator(seed, self.name, "weights").initial_seed())
            return NETWORKS[self.network](examples.shape, examples.outputs, **sizes)

    def batches(self, examples: data.Examples, seed: int, steps: int) -> list[Tensor]:
        """Indices of the training examples of each step, int64 [batch_size], drawn with replacement."""
        generator, count = seeded_generator(seed, self.name, "batches"), len(examples.train[0])
        return [torch.randint(count, (self.batch_size,), generator=generator) for _ in range(steps)]

    def batch_loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch in the task's unit."""
        return self.unit * data.mean_loss(self.loss, network(inputs), inputs, targets)


def count_weights(network: nn.Module) -> int:
    """Return how many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
