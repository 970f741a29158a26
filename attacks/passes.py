"""Images that pass through a network, forwards and backwards: the cost of an attack that no machine changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Passes:
    """Images that went through a network, each time counted anew.

    forwards: images whose logits were computed.  backwards: images whose gradient was.
    """

    forwards: int = 0
    backwards: int = 0

    @property
    def total(self) -> int:
        """Return both together."""
        return self.forwards + self.backwards


@contextmanager
def counted_passes(network: nn.Module) -> Iterator[Passes]:
    """Count what passes through the network inside; the network is left as it was.

    network: called on images [N, ...], returns logits [N, classes]. One of TorchScript cannot be watched: it counts 0.

        >>> import torch
        >>> network = nn.Linear(2, 3)
        >>> with counted_passes(network) as passes:
        ...     logits = network(torch.zeros(5, 2, requires_grad=True))
        ...     logits.sum().backward()
        >>> passes
        Passes(forwards=5, backwards=5)
    """
    passes = Passes()
    if isinstance(network, torch.jit.ScriptModule):
        yield passes
        return

    def count_backward(gradient: Tensor) -> None:
        passes.backwards += len(gradient)

    def count_forward(module: nn.Module, inputs: tuple[Any, ...], logits: Any) -> None:
        passes.forwards += len(inputs[0])
        if isinstance(logits, Tensor) and logits.requires_grad:
            logits.register_hook(count_backward)  # type: ignore[no-untyped-call]

    hook = network.register_forward_hook(count_forward)
    try:
        yield passes
    finally:
        hook.remove()
