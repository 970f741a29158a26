"""Networks of sequences: recurrent ones, and small transformers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

RECURRENT = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class SequenceNetwork(nn.Module):
    """Reads symbols [N, time] or vectors [N, time, inputs], and writes at each time or, from their mean, once.

    body: [N, time, width] -> the same, or a tuple that begins with it.
    """

    def __init__(self, first: nn.Module, body: nn.Module, last: nn.Module, *, writes_once: bool) -> None:
        super().__init__()
        self.first, self.body, self.last = first, body, last
        self.writes_once = writes_once

    def forward(self, inputs: Tensor) -> Tensor:
        """[N, outputs], or [N, time, outputs]."""
        found = self.body(self.first(inputs))
        states = found[0] if isinstance(found, tuple) else found
        written: Tensor = self.last(states.mean(1) if self.writes_once else states)
        return written


class Places(nn.Module):
    """Adds a learned vector to each place of a sequence."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(0.02 * torch.randn(length, width))

    def forward(self, states: Tensor) -> Tensor:
        """Same shape."""
        return states + self.vectors[: states.shape[1]]


class Transformer(nn.Module):
    """Layers of self-attention with layer norm before; causal ones see no later place."""

    def __init__(self, *, length: int, width: int, heads: int, layers: int, causal: bool) -> None:
        super().__init__()
        self.places = Places(length, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length) if causal else None)

    def forward(self, states: Tensor) -> Tensor:
        """Same shape."""
        states = self.places(states)
        for layer in self.layers:
            states = layer(states, src_mask=self.mask)
        return states


def recurrent(
    shape: Sequence[int], outputs: int, *, kind: str, hidden: int, symbols: int = 0, writes_once: bool = False
) -> nn.Module:
    """One recurrent layer. symbols: of inputs that are integers, which are embedded."""
    first = nn.Embedding(symbols, hidden) if symbols else nn.Identity()
    body = RECURRENT[kind](hidden if symbols else shape[-1], hidden, batch_first=True)
    return SequenceNetwork(first, body, nn.Linear(hidden, outputs), writes_once=writes_once)


def attention(
    shape: Sequence[int],
    outputs: int,
    *,
    width: int,
    layers: int,
    heads: int = 4,
    symbols: int = 0,
    causal: bool = False,
    writes_once: bool = False,
) -> nn.Module:
    """A transformer. symbols: of inputs that are integers, which are embedded."""
    first = nn.Embedding(symbols, width) if symbols else nn.Linear(shape[-1], width)
    body = Transformer(length=shape[0], width=width, heads=heads, layers=layers, causal=causal)
    last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))
    return SequenceNetwork(first, body, last, writes_once=writes_once)
