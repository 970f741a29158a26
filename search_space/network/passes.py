"""Passes of images through networks and supernets, told to whoever counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

Listener = Callable[[nn.Module, Tensor], None]
"""Takes the network and the images [N, C, H, W] that begin to go through it; a `SinglePath` comes before its own."""

_LISTENERS: list[Listener] = []


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Tell the listener of every pass of images through a `Network` or a `Supernet` of this process.

    >>> import torch
    >>> from search_space import PUBLISHED, Network
    >>> seen = []
    >>> with heard_by(lambda network, images: seen.append(len(images))):
    ...     logits = Network(PUBLISHED["DARTS_V2"].genotype, channels=4, layers=3)(torch.rand(2, 3, 8, 8))
    >>> seen
    [2]
    """
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def announce(network: nn.Module, images: Tensor) -> None:
    """Tell all listeners of a pass; called by what runs the images."""
    for listener in _LISTENERS:
        listener(network, images)
