"""A network with fixed weights as a sequence of steps: its values, its steps, and where their weights come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from search_space.kernels.native.network_passes import NetworkPasses, Step, StepKind, Value


class NotFixedError(Exception):
    """A module has no step that does the same."""


@dataclass(frozen=True)
class Weights:
    """The weights of a step, and what scales and shifts its outputs, of S networks side by side.

    weight: [S * outputs, ...].  bias: [S * outputs], or None.
    norm: the batch norm after it, of which these outputs are from channel `first` of each network on.
    """

    weight: Tensor
    bias: Tensor | None = None
    norm: nn.BatchNorm2d | None = None
    first: int = 0
    networks: int = 1

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias that do the same without the norm, in float64."""
        weight, outputs = self.weight.double(), len(self.weight)
        each = outputs // self.networks
        bias = weight.new_zeros(outputs) if self.bias is None else self.bias.double()
        if self.norm is None:
            return weight, bias
        factor, shift = scale_and_shift(self.norm)
        factor, shift = (
            part.view(self.networks, -1)[:, self.first : self.first + each].reshape(-1) for part in (factor, shift)
        )
        return weight * factor.view(-1, *[1] * (weight.ndim - 1)), bias * factor + shift


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a batch norm in evaluation multiplies channels by, and then adds: float64 [C] each."""
    if norm.running_mean is None or norm.running_var is None:
        raise NotFixedError("a batch norm without running statistics")
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    factor = torch.rsqrt(variance + norm.eps)
    shift = torch.zeros_like(mean)
    if norm.affine:
        factor, shift = norm.weight.double() * factor, norm.bias.double()
    return factor, shift - mean * factor


@dataclass
class Builder:
    """Collects values and steps of one of S networks side by side, and the weights of all."""

    networks: int = 1
    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _weights: list[Tensor] = field(default_factory=list)
    _places: int = 0  # of weights
    _kept: int = 0

    def value(self, channels: int, height: int, width: int, *, passing: bool = False) -> int:
        """Make room for features of an image; what passes has one place, as the next step has read it."""
        place = 0 if passing else self._kept
        if not passing:
            self._kept += channels * height * width
        self.values.append(Value(place, channels, height, width, passing))
        return len(self.values) - 1

    def part(self, of: int, first: int, channels: int) -> int:
        """Return the index of some channels of a value, from `first` on."""
        whole = self.values[of]
        place = whole.place + first * whole.height * whole.width
        self.values.append(Value(place, channels, whole.height, whole.width, whole.passing))
        return len(self.values) - 1

    def step(self, kind: StepKind, source: int, target: int, **more: object) -> None:
        """Add a step from a value to a value; `more` as of Step."""
        self.steps.append(Step(kind, source, target, **more))  # type: ignore[arg-type]

    def store(self, *parts: Tensor) -> list[int]:
        """Keep weights, and return where each begins."""
        places = []
        for part in parts:
            places.append(self._places)
            of_each = part.detach().reshape(self.networks, -1).to("cpu", torch.float32)
            self._weights.append(of_each)
            self._places += of_each.shape[1]
        return places

    def passes(self, logits: int) -> NetworkPasses:
        """Return the passes from the first value to the logits."""
        return NetworkPasses(
            self.values, self.steps, torch.cat([*self._weights, torch.zeros(self.networks, 1)], dim=1), logits
        )

    def shape(self, value: int) -> Sequence[int]:
        """Return channels, height and width."""
        of = self.values[value]
        return of.channels, of.height, of.width
