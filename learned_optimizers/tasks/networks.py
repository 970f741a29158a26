"""Small networks as pure functions of a list of tensors, made of products that vmap turns into batched ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

Shapes = Sequence[tuple[int, ...]]

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}
KERNEL, STRIDE = 3, 2  # of every convolution


def dense_shapes(widths: Sequence[int]) -> list[tuple[int, ...]]:
    """Weight and bias of each layer between neighbouring widths."""
    return [shape for wide, next_wide in pairwise(widths) for shape in ((wide, next_wide), (next_wide,))]


def conv_shapes(channels: Sequence[int], side: int, classes: int) -> list[tuple[int, ...]]:
    """Weight [in * 9, out] and bias of each convolution, and those of the classifier on what is left of the image."""
    shapes: list[tuple[int, ...]] = []
    for inputs, outputs in zip((1, *channels), channels, strict=False):
        shapes += [(inputs * KERNEL**2, outputs), (outputs,)]
        side = -(-side // STRIDE)
    return [*shapes, (channels[-1] * side**2, classes), (classes,)]


def recurrent_shapes(inputs: int, hidden: int, outputs: int) -> list[tuple[int, ...]]:
    """Input, recurrent and output weights, and two biases."""
    return [(inputs, hidden), (hidden, hidden), (hidden,), (hidden, outputs), (outputs,)]


def draw(shapes: Shapes, gain: float, generator: torch.Generator) -> list[Tensor]:
    """Return weights from N(0, gain^2 / inputs), biases 0."""
    return [
        torch.randn(shape, generator=generator) * (gain / shape[0] ** 0.5) if len(shape) > 1 else torch.zeros(shape)
        for shape in shapes
    ]


def dense(params: Sequence[Tensor], inputs: Tensor, activation: str) -> Tensor:
    """A multilayer perceptron: inputs [N, d] -> [N, last width]."""
    hidden = inputs
    for index in range(0, len(params), 2):
        hidden = hidden @ params[index] + params[index + 1]
        if index + 2 < len(params):
            hidden = ACTIVATIONS[activation](hidden)
    return hidden


def conv(params: Sequence[Tensor], images: Tensor, activation: str) -> Tensor:
    """Convolutions of stride 2 and a classifier: grey images [N, side, side] -> logits [N, classes]."""
    hidden = images.unsqueeze(-1)
    for index in range(0, len(params) - 2, 2):
        hidden = ACTIVATIONS[activation](_patches(hidden) @ params[index] + params[index + 1])
    return hidden.flatten(1) @ params[-2] + params[-1]


def _patches(images: Tensor) -> Tensor:
    """What each position of a convolution sees: [N, height, width, channels] -> [N, height', width', 9 channels].

    A product with these is a batched product under vmap over weights, where conv2d is a slow grouped convolution.
    """
    height, width = images.shape[1:3]
    padded = F.pad(images, (0, 0, 1, 1, 1, 1))
    offsets = [(row, column) for row in range(KERNEL) for column in range(KERNEL)]
    return torch.cat(
        [padded[:, row : row + height : STRIDE, column : column + width : STRIDE] for row, column in offsets], -1
    )


def recurrent(params: Sequence[Tensor], sequences: Tensor) -> Tensor:
    """An Elman network with tanh: sequences [N, time, inputs] -> outputs [N, time, outputs]."""
    read, again, bias, write, out_bias = params
    state = torch.zeros_like(sequences[:, 0] @ read)
    states = []
    for time in range(sequences.shape[1]):
        state = torch.tanh(sequences[:, time] @ read + state @ again + bias)
        states.append(state)
    return torch.stack(states, 1) @ write + out_bias
