"""Networks whose weights stay as they are for a while, in compiled code: batch norm folded, no call between steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from search_space.fixed_network.building import Builder, NotFixedError
from search_space.fixed_network.module_steps import network_steps
from search_space.kernels.fast_gradients import is_transformed
from search_space.kernels.native.loading import takes_type
from search_space.kernels.native.network_passes import NetworkPasses
from search_space.network.network import Network
from search_space.network.side_by_side import SideBySide


@contextmanager
def fixed_weights(network: nn.Module) -> Iterator[None]:
    """Compute logits in evaluation, and their gradients to the images, in compiled code while this lasts.

    They are those of the network to rounding, several times sooner: batch norm is folded into the convolutions before
    it, and each image goes through all layers while it is in the core's cache. Where weights are asked for gradients or
    have changed, in training, for other types and devices than float32 on the CPU, without a compiler, for noise, with
    hooks inside, and for other modules than `Network` and `SideBySide`, all is as without this. Weights may not be
    changed where PyTorch does not see it (`.data`).

    >>> from search_space import PUBLISHED
    >>> network = Network(PUBLISHED["DARTS_V2"].genotype, channels=4, layers=3).eval()
    >>> images = torch.rand(2, 3, 8, 8)
    >>> with torch.no_grad(), fixed_weights(network):
    ...     logits = network(images)
    >>> torch.testing.assert_close(logits, network(images), rtol=1e-4, atol=1e-5)
    """
    count, one = (network.count, network.network) if isinstance(network, SideBySide) else (1, network)
    if not isinstance(one, Network) or one.fixed is not None or not takes_type([*one.parameters()]):
        yield
        return
    one.fixed = _Fixed(one, count)
    try:
        yield
    finally:
        one.fixed = None


class _Fixed:
    """The passes of `count` networks side by side by the size of images, while their weights are what they were."""

    def __init__(self, network: Network, count: int) -> None:
        self._network, self._count = network, count
        self._passes: dict[tuple[int, ...], NetworkPasses | None] = {}
        self._places = [
            (of, name) for module in network.modules() for of in (module._parameters, module._buffers) for name in of
        ]
        found = [of[name] for of, name in self._places]
        self._found, self._tensors = found, [tensor for tensor in found if tensor is not None]
        self._counted = [tensor for tensor in self._tensors if not tensor.is_inference()]  # of those that may change
        self._versions = [tensor._version for tensor in self._counted]

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """Leave it out of a copy, whose weights are its own."""

    def takes(self, images: Tensor) -> bool:
        """Return whether logits of images [N, C, H, W] are computed here, with their gradients as far as wanted."""
        network = self._network
        return (
            not network.training
            and images.ndim == 4
            and len(images) > 0
            and takes_type([images])
            and not torch.is_autocast_enabled("cpu")
            and not is_transformed()
            and self._is_unchanged()
            and self._for(images) is not None
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits [N, classes]."""
        logits: Tensor = _Passed.apply(images, self._for(images))  # type: ignore[no-untyped-call]
        return logits

    def _is_unchanged(self) -> bool:
        return (
            all(map(is_, [of[name] for of, name in self._places], self._found))
            and [tensor._version for tensor in self._counted] == self._versions
            and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self._tensors))
        )

    def _for(self, images: Tensor) -> NetworkPasses | None:
        size = tuple(images.shape[1:])
        if size not in self._passes:
            self._passes[size] = _passes_of(self._network, self._count, size)
        return self._passes[size]


@torch.no_grad()
def _passes_of(network: Network, count: int, size: tuple[int, ...]) -> NetworkPasses | None:
    """Return the passes of images [C, H, W] through `count` networks side by side, or None where a module has none."""
    if size[0] != network.normalize.mean.shape[1]:
        return None  # the network says it better
    if any(part._forward_hooks or part._forward_pre_hooks for part in network.modules() if part is not network):
        return None  # somebody looks at what lies between its layers
    builder = Builder(count)
    try:
        return builder.passes(network_steps(network, builder, size))
    except NotFixedError:
        return None


class _Passed(Function):
    """Logits of images, with their gradient."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, passes: NetworkPasses) -> Tensor:
        ctx.passes = passes
        logits, kept = passes.forward(images, keep=ctx.needs_input_grad[0])
        if kept is not None:
            ctx.save_for_backward(kept)
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return ctx.passes.backward(slopes[0], kept), None
