"""A plain network trained on the same images: what an attacker has who cannot look into the network under test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count, islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import ImageData

SURROGATE_CHANNELS = (16, 32, 64)
STEPS, BATCH_SIZE, LEARNING_RATE = 300, 64, 3e-3
RECIPE = {
    "channels": list(SURROGATE_CHANNELS),
    "steps": STEPS,
    "batch_size": BATCH_SIZE,
    "learning_rate": LEARNING_RATE,
}


def train_surrogate(data: ImageData, device: torch.device, seed: int) -> nn.Module:
    """A convolutional network in evaluation mode, trained by RECIPE on clean images; a function of its seed."""
    seed_stream(seed, "surrogate")
    network = _network(data).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for images, labels in _batches(data, device, seed):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval()


def _batches(data: ImageData, device: torch.device, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    train = data.train.to(device)
    epochs = (
        train.shuffled_batches(min(BATCH_SIZE, len(train)), stream_seed(seed, "surrogate", epoch)) for epoch in count()
    )
    return islice(chain.from_iterable(epochs), STEPS)


def _network(data: ImageData) -> nn.Module:
    blocks: list[nn.Module] = []
    for before, channels in zip((data.in_channels, *SURROGATE_CHANNELS), SURROGATE_CHANNELS, strict=False):
        stride = 1 if before == data.in_channels else 2
        blocks += [nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(
        *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * SURROGATE_CHANNELS[-1], data.num_classes)
    )
