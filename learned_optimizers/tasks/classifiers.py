"""Perceptrons and convolutional networks that classify digits or generated data, and autoencoders of the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from learned_optimizers.tasks import data
from learned_optimizers.tasks.networks import conv, conv_shapes, dense, dense_shapes, draw
from learned_optimizers.tasks.task import Configuration, Task, TaskTensors, uniform

POINTS = 512  # of a generated set
IMAGE = data.SIDE**2
CLUSTER_DIMENSIONS, CLUSTER_CLASSES = 8, 4

Variants = tuple[tuple[tuple[int, ...], str], ...]
"""Layers and activation of each bucket."""


@dataclass(frozen=True)
class NetworkConfiguration(Configuration):
    """A network on data. gain: of the initial weights.  contrast: factor on the inputs.

    layers: widths of hidden layers, or channels of convolutions.  spread: of the clusters, where data is generated.
    """

    source: str
    layers: tuple[int, ...]
    activation: str
    gain: float
    contrast: float
    spread: float


class NetworkTask(Task):
    """A network that is trained on digits or on Gaussian clusters."""

    variants: Variants
    configuration: NetworkConfiguration

    def __init__(self, family: str, seed: int, index: int, source: str) -> None:
        layers, activation = self.variants[index % len(self.variants)]
        generator = Configuration(family, seed, index).generator("configuration")
        self.configuration = NetworkConfiguration(
            family,
            seed,
            index,
            source,
            layers,
            activation,
            gain=2 ** uniform(-0.5, 1, generator),
            contrast=2 ** uniform(-1, 1, generator),
            spread=uniform(0.3, 0.9, generator),
        )

    @property
    def bucket(self) -> tuple[object, ...]:
        """Family, data and network; generated and real data have shapes of their own."""
        configuration = self.configuration
        return (configuration.family, configuration.source, configuration.layers, configuration.activation)

    @property
    def dimensions(self) -> int:
        """Length of an input."""
        return IMAGE if self.configuration.source in ("digits", "images") else CLUSTER_DIMENSIONS

    @property
    def classes(self) -> int:
        """Return the number of labels."""
        return data.DIGIT_CLASSES if self.configuration.source == "digits" else CLUSTER_CLASSES

    @cached_property
    def data(self) -> TaskTensors:
        """Inputs [N, dimensions], pixels in an order of this task's own, and labels [N]."""
        configuration, generator = self.configuration, self.configuration.generator("data")
        if configuration.source == "digits":
            inputs, labels = data.digits()
            return configuration.contrast * inputs[:, self.pixel_order(generator)], labels
        points, labels = data.clusters(POINTS, self.dimensions, self.classes, 2, configuration.spread, generator)
        inputs = data.smooth_images(points) if configuration.source == "images" else points
        return configuration.contrast * inputs, labels

    def pixel_order(self, generator: torch.Generator) -> Tensor:
        """Where each input is read; a dense network does not mind, and two tasks are not the same."""
        return torch.randperm(self.dimensions, generator=generator)


class MlpClassifier(NetworkTask):
    """Cross entropy of a multilayer perceptron."""

    variants: Variants = (((16,), "relu"), ((12, 12), "tanh"), ((8,), "tanh"))

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Gaussian weights."""
        widths = (self.dimensions, *self.configuration.layers, self.classes)
        return draw(dense_shapes(widths), self.configuration.gain, generator)

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Cross entropy in nats."""
        inputs, labels = samples
        return F.cross_entropy(dense(params, inputs, self.configuration.activation), labels)


class WideMlpClassifier(MlpClassifier):
    """Cross entropy of a wider or deeper multilayer perceptron."""

    variants = (((64,), "relu"), ((32, 32, 32), "relu"), ((128,), "tanh"))


class ConvClassifier(NetworkTask):
    """Cross entropy of a small convolutional network."""

    variants = (((4, 6), "relu"), ((6,), "tanh"))
    batch_size = 16

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Gaussian weights."""
        return draw(conv_shapes(self.configuration.layers, data.SIDE, self.classes), self.configuration.gain, generator)

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Cross entropy in nats."""
        inputs, labels = samples
        images = inputs.reshape(-1, data.SIDE, data.SIDE)
        return F.cross_entropy(conv(params, images, self.configuration.activation), labels)

    def pixel_order(self, generator: torch.Generator) -> Tensor:
        """As they are: neighbours count."""
        return torch.arange(self.dimensions)


class Autoencoder(NetworkTask):
    """Mean squared error of a network that says its input again through a narrow layer."""

    variants = (((6,), "tanh"), ((12, 4, 12), "tanh"))

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Gaussian weights."""
        widths = (self.dimensions, *self.configuration.layers, self.dimensions)
        return draw(dense_shapes(widths), self.configuration.gain, generator)

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Return the mean squared error of an input."""
        inputs, _ = samples
        return (dense(params, inputs, self.configuration.activation) - inputs).square().mean()
