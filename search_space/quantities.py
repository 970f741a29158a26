"""The quantities that a network costs: parameters and multiply-accumulates (MACs; 1 MAC = 2 FLOPs) of one image.

Two conventions stand side by side, as papers differ:

- conv_linear_macs: convolutions, linear maps and products of matrices, such as attention's, alone
  (torch.utils.flop_counter / 2);
- thop_macs: thop's, which adds batch norm and average pooling, and leaves out what is no module that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

QUANTITIES = ("parameters", "conv_linear_macs", "thop_macs")
"""Order of the last dimension of a cost table."""


@dataclass(frozen=True)
class NetworkCost:
    """Exact size of one network; the auxiliary head is trained but never runs when the network is used."""

    parameters: int
    parameters_with_auxiliary_head: int
    conv_linear_macs: int
    thop_macs: int


@dataclass(frozen=True)
class PartCost:
    """Of a part of a network; parts add up."""

    parameters: int = 0
    conv_linear_macs: int = 0
    thop_macs: int = 0

    def __add__(self, other: PartCost) -> PartCost:
        return PartCost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __mul__(self, times: int) -> PartCost:
        return PartCost(*(getattr(self, field.name) * times for field in fields(self)))
