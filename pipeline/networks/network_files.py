"""Trained networks as files: the weights, and what rebuilds the network around them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from pipeline.data import ImageData
from pipeline.errors import RunError
from pipeline.networks.description import NetworkDescription, TrainedNetwork, genotype_from_plain
from pipeline.networks.state_digest import state_sha256
from pipeline.runs.files import read_json, write_atomically, write_json
from pipeline.runs.schemas import checked
from pipeline.runs.stored_stages import StoredTraining
from pipeline.runs.tensors import read_tensors

SMALLEST_NUMBER = 2  # bytes of a weight: half precision


@contextmanager
def errors_name(what: str) -> Iterator[None]:
    """Turn an error of the system, or of a content, into a RunError that says of what."""
    try:
        yield
    except RunError:
        raise
    except (ValueError, OSError) as error:
        raise RunError(f"{what}: {error}") from None


def save_network(folder: Path, network: nn.Module, description: NetworkDescription) -> NetworkDescription:
    """Write network.safetensors and network.json; the second last, as it says that both are there.

    Return the description as it is written, with the digest of the weights that its training speaks of.
    """
    (folder / "network.json").unlink(missing_ok=True)
    write_atomically(folder / "network.safetensors", as_safetensors(network, description))
    written = description.build()
    written.load_state_dict(_weights(network))
    description = description.with_weights(state_sha256(written))
    write_json(folder / "network.json", description.model_dump(mode="json"))
    return description


def as_safetensors(network: nn.Module, description: NetworkDescription) -> bytes:
    """The content of network.safetensors: the weights and, as JSON under `network` of its header, what rebuilds them.

    The auxiliary head is left out, and what differs from run to run too: the same weights give the same bytes.
    """
    content = description.model_dump(mode="json", exclude={"training": {"seconds", "environment", "state_sha256"}})
    # one entry: safetensors writes several in an order that changes from call to call
    written: bytes = save(_weights(network), metadata={"network": json.dumps(content, sort_keys=True)})
    return written


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("auxiliary_head.")
    }


def load_network(folder: Path) -> TrainedNetwork:
    """Read what `save_network` wrote. Raises RunError that names the file and what is wrong with it."""
    return load_network_files(folder / "network.json", folder / "network.safetensors")


def load_network_files(path: Path, weights: Path) -> TrainedNetwork:
    """Read a description and its weights. Raises RunError that names the file and what is wrong with it."""
    try:
        description = read_description(path)
        _check_size(description, weights, path.name)
        network = description.build()
    except RunError:
        raise
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None
    load_weights(network, weights, f"the network of {path.name}")
    return TrainedNetwork(network, description)


def read_description(path: Path) -> NetworkDescription:
    """Return the content of a network.json. Raises RunError that names the file and what is wrong with it."""
    if not path.exists():
        how = f"python scripts/retrain.py {shlex.quote(f'run={path.parent}')}"
        raise RunError(f"{path} does not exist; train a network first ({how})")
    description = checked(read_json(path), NetworkDescription, str(path))
    checked(description.training, StoredTraining, f"{path}: training")
    with errors_name(str(path)):
        genotype_from_plain(description.genotype)
    return description


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


def _check_size(description: NetworkDescription, weights: Path, name: str) -> None:
    """Raise RunError when the file cannot hold so many parameters, before memory is taken for them."""
    parameters = description.cost()["parameters"]
    try:
        size = weights.stat().st_size
    except OSError as error:
        raise RunError(f"{weights} cannot be read: {error.strerror}") from None
    if weights.is_file() and parameters * SMALLEST_NUMBER > size:
        raise RunError(f"{weights} cannot hold the {parameters:,} parameters of {name}: it has {size:,} bytes")


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
