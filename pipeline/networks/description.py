"""What rebuilds a trained network beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from pipeline.networks.state_digest import state_sha256
from pipeline.settings import Channels, Layers, Settings
from search_space import Genotype, Network, network_cost

NETWORK_FORMAT_VERSION = 1


class NetworkDescription(Settings):
    """All that rebuilds a trained network beside its weights: the content of network.json."""

    format: str = Field("network", pattern="^network$")
    version: int = Field(NETWORK_FORMAT_VERSION, ge=NETWORK_FORMAT_VERSION, le=NETWORK_FORMAT_VERSION)
    name: str
    genotype: dict[str, Any]
    channels: Channels
    layers: Layers
    in_channels: int = Field(ge=1, le=64)
    image_size: int = Field(ge=8, le=8192)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] = Field(min_length=2, max_length=100_000)
    data: str
    training: dict[str, Any]

    def build(self) -> Network:
        """Return the network with initial weights and without an auxiliary head, in evaluation mode."""
        network = Network(
            genotype_from_plain(self.genotype),
            channels=self.channels,
            layers=self.layers,
            num_classes=len(self.class_names),
            in_channels=self.in_channels,
            mean=self.mean,
            std=self.std,
        )
        return network.eval()

    def cost(self) -> dict[str, int]:
        """Return the exact size of the network."""
        cost = network_cost(
            genotype_from_plain(self.genotype),
            channels=self.channels,
            layers=self.layers,
            num_classes=len(self.class_names),
            image_size=self.image_size,
            in_channels=self.in_channels,
        )
        return asdict(cost)


@dataclass(frozen=True)
class TrainedNetwork:
    """A network as `retrain` leaves it."""

    network: Network
    description: NetworkDescription

    @property
    def state_sha256(self) -> str:
        """Digest of its weights, by which figures are tied to them."""
        return state_sha256(self.network)


def genotype_from_plain(content: Any) -> Genotype:
    """A genotype from the parsed content of a genotype.json. Raises ValueError where it is something else."""
    return Genotype.from_json(json.dumps(content))
