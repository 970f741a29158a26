"""Genotypes and trained networks as files: what one stage leaves for the next, or a user brings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from pipeline.run import RunError, read_json, write_atomically, write_json
from pipeline.settings import Channels, Layers, Settings
from search_space import PUBLISHED, Genotype, Network, network_cost

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
        """The network with initial weights and without an auxiliary head, in evaluation mode."""
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
        """Exact size of the network."""
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


def genotype_from_plain(content: dict[str, Any]) -> Genotype:
    """A genotype from the parsed content of a genotype.json."""
    return Genotype.from_json(json.dumps(content))


def load_genotype(reference: str) -> tuple[str, Genotype]:
    """Name and genotype of a published name, a string of NAS-Bench-201, a genotype.json or a run folder.

    Raises RunError otherwise.
    """
    if reference in PUBLISHED:
        return reference, PUBLISHED[reference].genotype
    if reference.startswith("|"):
        try:
            return reference, Genotype.from_nasbench201(reference)
        except ValueError as error:
            raise RunError(f"genotype={reference}: {error}") from None
    path = Path(reference)
    if path.is_dir() and (path / "genotype.json").is_file():
        path = path / "genotype.json"
    elif path.is_dir() and (path / "network.json").is_file():  # a published cell that was retrained
        description = load_network(path).description
        return description.name, genotype_from_plain(description.genotype)
    if not path.is_file():
        raise RunError(
            f"genotype={reference} is not a published name ({', '.join(PUBLISHED)}), a genotype.json or a finished run"
        )
    try:
        return path.resolve().parent.name, Genotype.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RunError(f"{path}: {error}") from None


def save_network(folder: Path, network: nn.Module, description: NetworkDescription) -> None:
    """Write network.safetensors and network.json; the second last, as it says that both are there."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("auxiliary_head.")
    }
    (folder / "network.json").unlink(missing_ok=True)
    write_atomically(folder / "network.safetensors", save(tensors))
    write_json(folder / "network.json", description.model_dump(mode="json"))


def load_network(folder: Path) -> TrainedNetwork:
    """Read what `save_network` wrote. Raises RunError that names the file and what is wrong with it."""
    path = folder / "network.json"
    try:
        description = NetworkDescription.model_validate(read_json(path))
        network = description.build()
    except ValidationError as error:
        first = error.errors()[0]
        raise RunError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except RunError:
        raise
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None
    weights = folder / "network.safetensors"
    try:
        tensors = load(weights.read_bytes())
    except (OSError, SafetensorError) as error:
        raise RunError(f"{weights} cannot be read: {error}") from None
    _load_checked(network, tensors, weights)
    return TrainedNetwork(network, description)


def _load_checked(network: nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [name for name in sorted(expected | found) if expected.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        raise RunError(
            f"{path} does not fit the network of network.json: {len(wrong)} tensors differ, the first is {name} "
            f"(expected {expected.get(name)}, found {found.get(name)})"
        )
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if bad:
        raise RunError(f"{path} holds values that are not finite, the first in {bad[0]}")
    network.load_state_dict(tensors)
