"""Networks of vectors and images: perceptrons, autoencoders, convolutions, residual ones, and those of this project."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from pipeline.networks.genotype_reference import load_genotype
from search_space import DARTS_OPERATIONS, Network, SearchSpace, Supernet

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def perceptron(
    shape: Sequence[int], outputs: int, *, depth: int, width: int, activation: str = "relu", norm: bool = False
) -> nn.Module:
    """`depth` hidden layers of one width. norm: a layer norm behind each."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise([prod(shape), *[width] * depth]):
        layers += [nn.Linear(before, after), *([nn.LayerNorm(after)] if norm else []), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def autoencoder(shape: Sequence[int], outputs: int, *, widths: Sequence[int], activation: str = "relu") -> nn.Module:
    """Dense layers of these widths between the input and its image; `outputs` does not matter."""
    sizes = [prod(shape), *widths]
    layers = [nn.Sequential(nn.Linear(*pair), ACTIVATIONS[activation]()) for pair in pairwise(sizes)]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], sizes[0]))


def conv_autoencoder(shape: Sequence[int], outputs: int, *, channels: int, code: int) -> nn.Module:
    """Two convolutions to a half of the size each, and two back; `outputs` does not matter."""
    down = [nn.Conv2d(shape[0], channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, code, 3, 2, 1), nn.ReLU()]
    up = [nn.ConvTranspose2d(code, channels, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(channels, shape[0], 4, 2, 1)]
    return nn.Sequential(*down, *up)


def convolutions(
    shape: Sequence[int], outputs: int, *, channels: Sequence[int], norm: bool, activation: str = "relu"
) -> nn.Module:
    """3x3 convolutions, the first two of stride 2, a mean over the pixels and a classifier. norm: batch norm."""
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(pairwise([shape[0], *channels])):
        layers.append(nn.Conv2d(before, after, 3, stride=2 if place < 2 else 1, padding=1))
        layers += [*([nn.BatchNorm2d(after)] if norm else []), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], outputs))


class Residual(nn.Module):
    """Adds what a network makes of its input to the input."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, inputs: Tensor) -> Tensor:
        """Same shape."""
        return inputs + self.branch(inputs)


def residual_convolutions(
    shape: Sequence[int], outputs: int, *, channels: int, blocks: int, norm: bool, stride: int = 1
) -> nn.Module:
    """Blocks of two 3x3 convolutions, with batch norm before each where norm is given (He et al. 2016)."""

    def half() -> list[nn.Module]:
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        return [*([nn.BatchNorm2d(channels)] if norm else []), nn.ReLU(), conv]

    body = [Residual(nn.Sequential(*half(), *half())) for _ in range(blocks)]
    first = nn.Conv2d(shape[0], channels, 3, stride, padding=1)
    return nn.Sequential(first, *body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))


def residual_perceptron(shape: Sequence[int], outputs: int, *, width: int, blocks: int) -> nn.Module:
    """Blocks of layer norm and two dense layers."""
    body = [
        Residual(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        )
        for _ in range(blocks)
    ]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(prod(shape), width), *body, nn.LayerNorm(width), nn.Linear(width, outputs)
    )


def cell_network(shape: Sequence[int], outputs: int, *, cell: str, channels: int, layers: int) -> nn.Module:
    """The network of a published cell, as retraining builds it."""
    _, genotype = load_genotype(cell)
    return Network(genotype, channels=channels, layers=layers, num_classes=outputs, in_channels=shape[0])


def supernet(shape: Sequence[int], outputs: int, *, channels: int, layers: int, nodes: int = 4) -> nn.Module:
    """The supernet of DARTS's space, whose alphas stay where they start."""
    space = SearchSpace(nodes=nodes, operations=DARTS_OPERATIONS)
    network = Supernet(space, channels=channels, layers=layers, num_classes=outputs, in_channels=shape[0])
    network.alphas.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)
