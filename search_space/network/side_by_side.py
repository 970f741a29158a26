"""Networks of one genotype side by side: one network whose convolutions have a group for each.

Small networks spend their time in starting operations and not in computing, so that several side by side take less time
than one after the other (benchmarks/side_by_side.py measures how much).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from search_space.network.network import Network, NetworkCell, Normalize
from search_space.network.operations import FactorizedReduce


class SideBySide(nn.Module):
    """Networks of one genotype and shape as one module: images [N * S, C, H, W] in [0, 1] -> logits [N * S, classes].

    networks: S of them, whose weights and statistics are copied, and which may differ in nothing else.
    Image i goes through network i % S, as if it were alone: logits, gradients and batch statistics are its own to
    rounding. Along the first axis of every parameter and buffer lie the networks, one block each: `blocks` tells them
    apart. The gradient of a mean over all N * S images is 1 / S of that of each network's own mean.
    Noise and drop path are drawn once for image i // S of every network.
    Raises ValueError for networks that differ, or have an auxiliary head.

    >>> from search_space import Genotype
    >>> genotype = Genotype.from_nasbench201("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|")
    >>> networks = [Network(genotype, channels=4, layers=3).eval() for _ in range(2)]
    >>> images = torch.rand(3, 2, 3, 8, 8)  # three of each network
    >>> logits = SideBySide(networks).eval()(images.flatten(0, 1)).unflatten(0, (3, 2))
    >>> torch.testing.assert_close(logits[:, 1], networks[1](images[:, 1]))
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        _check(networks)
        self.count = len(networks)
        self.network: nn.Module = _joined(networks)
        self._single = (copy.deepcopy(networks[0]),)  # in a tuple, so that it is no part of this module

    def forward(self, images: Tensor) -> Tensor:
        """[N * S, C, H, W] -> [N * S, classes], image i by network i % S."""
        rows = len(images) // self.count
        logits: Tensor = self.network(images.reshape(rows, -1, *images.shape[2:]))
        return logits.reshape(len(images), -1)

    def alone(self, index: int) -> Network:
        """Return a network of its own with the weights and statistics of network `index`, in the same mode."""
        network = copy.deepcopy(self._single[0]).train(self.training)
        joined = dict(zip(network.state_dict(), self.network.state_dict().values(), strict=True))
        for name, values in network.state_dict().items():
            axis = 1 if name.startswith("normalize.") else 0
            own = joined[name].chunk(self.count, dim=axis)[index] if values.ndim else joined[name]
            values.copy_(own.reshape(values.shape))
        return network.to(next(self.parameters()).device)

    def blocks(self, values: Tensor) -> Tensor:
        """Take a parameter, its gradient or a buffer apart by networks: [S * K, ...] -> [S, K, ...], a view."""
        return values.view(self.count, -1, *values.shape[1:])


class Linears(nn.Module):
    """Linear layers side by side: [N, S * in_features] -> [N, S * out_features]."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        first, count = layers[0], len(layers)
        self.convolution = nn.Conv2d(count * first.in_features, count * first.out_features, 1, groups=count)
        self.convolution.weight = nn.Parameter(_blocks([layer.weight for layer in layers])[..., None, None])
        self.convolution.bias = nn.Parameter(_blocks([layer.bias for layer in layers]))

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs, those of the first layer first."""
        outputs: Tensor = self.convolution(features[..., None, None]).flatten(1)
        return outputs


def _check(networks: Sequence[Network]) -> None:
    if not networks:
        raise ValueError("expected at least one network")
    first = networks[0]
    if any(network.auxiliary_head is not None for network in networks):
        raise ValueError("networks side by side have no auxiliary head; build them with auxiliary=False")
    for network in networks[1:]:
        shapes, expected = ({name: v.shape for name, v in each.state_dict().items()} for each in (network, first))
        if network.genotype != first.genotype or shapes != expected:
            raise ValueError(
                "networks side by side are of one genotype, with the same channels, layers, image channels and classes"
            )


def _joined(modules: Sequence[Any]) -> Any:
    """Return one module that does what each of the modules does to its own part of the channels."""
    for kind, join in _JOINS.items():
        if isinstance(modules[0], kind):
            return join(modules)
    joined = copy.deepcopy(modules[0])
    if any(True for _ in joined.parameters(recurse=False)) or any(True for _ in joined.buffers(recurse=False)):
        raise ValueError(f"no way is known to put {type(joined).__name__} side by side")
    for name, _ in modules[0].named_children():
        setattr(joined, name, _joined([getattr(module, name) for module in modules]))
    if isinstance(joined, NetworkCell | FactorizedReduce):
        joined.groups = len(modules)
    return joined


def _convolutions(modules: Sequence[nn.Conv2d]) -> nn.Conv2d:
    first, count = modules[0], len(modules)
    joined = copy.deepcopy(first)
    joined.in_channels, joined.out_channels = count * first.in_channels, count * first.out_channels
    joined.groups = count * first.groups
    joined.weight = nn.Parameter(_blocks([module.weight for module in modules]))
    if first.bias is not None:
        joined.bias = nn.Parameter(_blocks([module.bias for module in modules if module.bias is not None]))
    return joined


def _batch_norms(modules: Sequence[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    joined = copy.deepcopy(modules[0])
    joined.num_features *= len(modules)
    for name, _ in modules[0].named_parameters():
        setattr(joined, name, nn.Parameter(_blocks([getattr(module, name) for module in modules])))
    for name in ("running_mean", "running_var"):
        setattr(joined, name, _blocks([getattr(module, name) for module in modules]))
    return joined


def _normalizations(modules: Sequence[Normalize]) -> Normalize:
    joined = copy.deepcopy(modules[0])
    joined.mean, joined.std = (torch.cat([getattr(module, name) for module in modules], 1) for name in ("mean", "std"))
    return joined


def _blocks(values: Sequence[Tensor]) -> Tensor:
    return torch.cat([each.detach() for each in values])


_JOINS: Mapping[type[nn.Module], Callable[[Sequence[Any]], nn.Module]] = MappingProxyType(
    {nn.Conv2d: _convolutions, nn.BatchNorm2d: _batch_norms, nn.Linear: Linears, Normalize: _normalizations}
)
