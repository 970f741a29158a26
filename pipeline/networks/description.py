"""What rebuilds a trained network beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from pydantic import Field

from pipeline.networks.state_digest import state_sha256
from pipeline.presentation.notebook import TextInNotebook
from pipeline.settings import Channels, Layers, Settings
from search_space import Genotype, Network, network_cost

NETWORK_FORMAT_VERSION = 1


class NetworkDescription(Settings, TextInNotebook):
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

    def with_weights(self, digest: str) -> Self:
        """Say that the training ended in weights with this digest."""
        return self.model_copy(update={"training": self.training | {"state_sha256": digest}})

    def is_training_of(self, digest: str) -> bool:
        """Return whether the training is known to have ended in weights with this digest."""
        return self.training.get("state_sha256") == digest

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

    def __str__(self) -> str:
        cost, training = self.cost(), self.training
        last, overfitted = training["held_back"]["last"], training["overfitted_in_epoch"]
        found = (
            f"{cost['parameters']:,} parameters, {cost['conv_linear_macs']:,} MACs; "
            f"{training['held_back_accuracy']:.1%} on the held-back images, epoch {training['best_epoch']}; "
            f"{last['accuracy']:.1%} after the last, {last['epoch']}"
        )
        if overfitted is None:
            return found
        return f"{found}\n  catastrophic overfitting was found first in epoch {overfitted}"


@dataclass(frozen=True)
class TrainedNetwork:
    """A network as `retrain` leaves it."""

    network: Network
    description: NetworkDescription

    @property
    def state_sha256(self) -> str:
        """Digest of its weights, by which figures are tied to them."""
        return state_sha256(self.network)


def genotype_to_plain(genotype: Genotype) -> dict[str, Any]:
    """Return what a genotype.json holds, as plain JSON values."""
    return dict(json.loads(genotype.to_json()))


def genotype_from_plain(content: Any) -> Genotype:
    """A genotype from the parsed content of a genotype.json. Raises ValueError where it is something else."""
    return Genotype.from_json(json.dumps(content))
