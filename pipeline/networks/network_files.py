"""Genotypes and trained networks as files: what one stage leaves for the next, or a user brings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import save
from torch import nn

from pipeline.data import ImageData
from pipeline.errors import RunError
from pipeline.networks.state_digest import state_sha256
from pipeline.runs.files import parse_json, read_json, read_text, write_atomically, write_json
from pipeline.runs.schemas import checked
from pipeline.runs.stored_stages import StoredTraining
from pipeline.runs.tensors import read_tensors
from pipeline.settings import Channels, Layers, Settings
from search_space import PUBLISHED, Genotype, Network, network_cost
from search_space.cells.formats import UNNAMED, from_python

NETWORK_FORMAT_VERSION = 1
SMALLEST_NUMBER = 2  # bytes of a weight: half precision


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

    @property
    def state_sha256(self) -> str:
        """Digest of its weights, by which figures are tied to them."""
        return state_sha256(self.network)


def genotype_from_plain(content: Any) -> Genotype:
    """A genotype from the parsed content of a genotype.json. Raises ValueError where it is something else."""
    return Genotype.from_json(json.dumps(content))


def cell_of(folder: Path, reference: str | None) -> tuple[str, Genotype]:
    """Name and genotype of what `genotype=` names; where it names nothing, of a run folder. Raises RunError."""
    if reference:
        return load_genotype(reference)
    if not any((folder / name).is_file() for name in ("genotype.json", "network.json")):
        raise RunError(
            f"run={folder} holds no cell yet: search one (python scripts/search.py {shlex.quote(f'run={folder}')}), "
            "or give a published one, such as genotype=DARTS_V2"
        )
    return load_genotype(str(folder))


def load_genotype(reference: str) -> tuple[str, Genotype]:
    """Name and genotype of what `genotype=` may be; raises RunError otherwise.

    That is a published name, a string of NAS-Bench-201, a run folder, or a file: genotype.json, a text with such a
    string, or Python text as DARTS and its relatives have it, where `genotypes.py:NAME` chooses among several. No file
    is executed.
    """
    if reference in PUBLISHED:
        return reference, PUBLISHED[reference].genotype
    if reference.startswith("|"):
        with _naming(f"genotype={reference}"):
            return reference, Genotype.from_nasbench201(reference)
    with _naming(f"genotype={reference}"):
        file, chosen = _path_and_name(reference)
        if (file / "genotype.json").is_file():
            file /= "genotype.json"
        elif (file / "network.json").is_file():  # a published cell that was retrained
            description = load_network(file).description
            return description.name, genotype_from_plain(description.genotype)
        if not file.is_file():
            raise RunError(f"genotype={reference} {_no_genotype(reference)}")
    with _naming(str(file)):
        name, genotype = _parse_genotype(read_text(file), file.suffix, chosen)
    return name or file.resolve().parent.name, genotype


def _no_genotype(reference: str) -> str:
    near = get_close_matches(reference.upper(), [name.upper() for name in PUBLISHED], n=1)
    if near:
        meant = next(name for name in PUBLISHED if name.upper() == near[0])
        return f"is no published cell and no file; did you mean {meant}?"
    return (
        f"is not a published name ({', '.join(PUBLISHED)}), a genotype.json, Python text "
        "in DARTS's form (genotypes.py:NAME), a string of NAS-Bench-201 or a finished run"
    )


def read_genotype(path: Path) -> Genotype:
    """The genotype in a genotype.json. Raises RunError that names the file and what is wrong with it."""
    with _naming(str(path)):
        return _genotype_of_json(read_text(path))


def _path_and_name(reference: str) -> tuple[Path, str | None]:
    """The path in FILE:NAME and the name, None where the reference is a path alone."""
    path, _, name = reference.rpartition(":")
    if path and Path(path).is_file() and not Path(reference).exists():
        return Path(path), name
    return Path(reference), None


def _parse_genotype(text: str, suffix: str, chosen: str | None) -> tuple[str | None, Genotype]:
    """The name that the text gives it, None where it gives none, and the genotype."""
    if text.startswith("|"):
        return None, Genotype.from_nasbench201(text.strip())
    if suffix == ".py" or (suffix != ".json" and "Genotype(" in text):
        name, genotype = from_python(text, chosen)
        return (None if name == UNNAMED else name), genotype
    return None, _genotype_of_json(text)


def _genotype_of_json(text: str) -> Genotype:
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"a genotype file holds JSON; this is not: {error}") from None
    return genotype_from_plain(content)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Turn an error of the system, or of a content, into a RunError that says of what."""
    try:
        yield
    except RunError:
        raise
    except (ValueError, OSError) as error:
        raise RunError(f"{what}: {error}") from None


def save_network(folder: Path, network: nn.Module, description: NetworkDescription) -> None:
    """Write network.safetensors and network.json; the second last, as it says that both are there."""
    (folder / "network.json").unlink(missing_ok=True)
    write_atomically(folder / "network.safetensors", as_safetensors(network, description))
    write_json(folder / "network.json", description.model_dump(mode="json"))


def as_safetensors(network: nn.Module, description: NetworkDescription) -> bytes:
    """The content of network.safetensors: the weights and, as JSON under `network` of its header, what rebuilds them.

    The auxiliary head is left out, and what differs from run to run too: the same weights give the same bytes.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("auxiliary_head.")
    }
    content = description.model_dump(mode="json", exclude={"training": {"seconds", "environment"}})
    # one entry: safetensors writes several in an order that changes from call to call
    written: bytes = save(tensors, metadata={"network": json.dumps(content, sort_keys=True)})
    return written


def load_network(folder: Path) -> TrainedNetwork:
    """Read what `save_network` wrote. Raises RunError that names the file and what is wrong with it."""
    path, weights = folder / "network.json", folder / "network.safetensors"
    try:
        description = read_description(path)
        _check_size(description, weights)
        network = description.build()
    except RunError:
        raise
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None
    load_weights(network, weights, "the network of network.json")
    return TrainedNetwork(network, description)


def read_description(path: Path) -> NetworkDescription:
    """The content of a network.json. Raises RunError that names the file and what is wrong with it."""
    if not path.exists():
        how = f"python scripts/retrain.py {shlex.quote(f'run={path.parent}')}"
        raise RunError(f"{path} does not exist; train a network first ({how})")
    description = checked(read_json(path), NetworkDescription, str(path))
    checked(description.training, StoredTraining, f"{path}: training")
    with _naming(str(path)):
        genotype_from_plain(description.genotype)
    return description


def check_cell(folder: Path, trained: TrainedNetwork, reference: str | None) -> None:
    """Raise RunError where `genotype=` is given and names another cell than that of the folder's network, or none."""
    if reference is not None and cell_of(folder, reference)[1] != trained.network.genotype:
        raise RunError(f"{folder} holds a network of another cell than genotype={reference}; choose another run=")


def check_fits(trained: TrainedNetwork, data: ImageData) -> None:
    """Raise RunError unless the data have the classes, channels and size that the network was trained on."""
    description = trained.description
    for what, expected, found in (
        ("classes", list(description.class_names), list(data.class_names)),
        ("channels", description.in_channels, data.in_channels),
        ("image size", description.image_size, data.image_size),
    ):
        if expected != found:
            raise RunError(
                f"the network was trained on {description.data} with {what} {expected}; {data.name} has {found}"
            )


def _check_size(description: NetworkDescription, weights: Path) -> None:
    """Raise RunError when the file cannot hold so many parameters, before memory is taken for them."""
    parameters = description.cost()["parameters"]
    try:
        size = weights.stat().st_size
    except OSError as error:
        raise RunError(f"{weights} cannot be read: {error.strerror}") from None
    if weights.is_file() and parameters * SMALLEST_NUMBER > size:
        raise RunError(f"{weights} cannot hold the {parameters:,} parameters of network.json: it has {size:,} bytes")


def load_weights(network: nn.Module, path: Path, whose: str) -> None:
    """Weights from a .safetensors file, which must hold exactly those of the network. Raises RunError."""
    tensors = read_tensors(path).tensors
    expected = {name: _form(tensor) for name, tensor in network.state_dict().items()}
    found = {name: _form(tensor) for name, tensor in tensors.items()}
    wrong = [name for name in sorted(expected | found) if expected.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        raise RunError(
            f"{path} does not fit {whose}: {len(wrong)} tensors differ, the first is {name} "
            f"(expected {expected.get(name)}, found {found.get(name)})"
        )
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if bad:
        raise RunError(f"{path} holds values that are not finite, the first in {bad[0]}")
    network.load_state_dict(tensors)


def _form(tensor: torch.Tensor) -> str:
    return f"{'fractions' if tensor.is_floating_point() else tensor.dtype} {tuple(tensor.shape)}"
