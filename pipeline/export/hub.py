"""The trained network as the three files of a hub of models: weights, what rebuilds the network, and its card."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.compute.faults import first_line
from pipeline.errors import RunError
from pipeline.export.model_card import evaluated_of, model_card
from pipeline.networks.description import NetworkDescription, TrainedNetwork
from pipeline.networks.network_files import as_safetensors, load_network_files
from pipeline.runs.files import write_atomically
from pipeline.runs.schemas import read_as

WEIGHTS_FILE, CONFIG_FILE, README_FILE = HUB_FILES = ("model.safetensors", "config.json", "README.md")
REPOSITORY = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
HUB_EXTRA = "pip install -e '.[hub]'"

LOADING = """\
`e2rnas.from_pretrained("{reference}")` rebuilds the network from config.json and model.safetensors, and runs no code of
either. Images are [N, {channels}, {size}, {size}], float in [0, 1]: normalisation is the first layer."""


def hub_files(folder: Path, trained: TrainedNetwork, reference: str) -> dict[str, bytes]:
    """Return the files by name: of a run folder's network, what it was measured to be, and how it is loaded.

    reference: the repository or folder that the card says to load it from.
    """
    description = trained.description.with_weights(trained.state_sha256)
    loading = LOADING.format(reference=reference, channels=description.in_channels, size=description.image_size)
    sections = {"How to load it": loading}
    card = model_card(description, evaluated_of(folder, trained), trained.state_sha256, sections=sections)
    config = json.dumps(description.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    weights = as_safetensors(trained.network, description)
    return {WEIGHTS_FILE: weights, README_FILE: card.encode(), CONFIG_FILE: config.encode()}


def write_hub_folder(target: Path, files: dict[str, bytes]) -> None:
    """Write the files into a folder. Raises RunError where it holds others that they would replace."""
    check_hub_folder(target)
    for name, content in files.items():
        write_atomically(target / name, content)


def check_hub_folder(target: Path) -> None:
    """Raise RunError where the folder holds files of these names that are not of a network, such as another README."""
    if target.exists() and not target.is_dir():
        raise RunError(f"{target} is no folder; choose another push.folder")
    there = [name for name in HUB_FILES if (target / name).exists()]
    if there and CONFIG_FILE not in there:
        raise RunError(f"{target} holds {', '.join(there)} of something else; choose another push.folder")
    if there:
        read_as(target / CONFIG_FILE, NetworkDescription, "push")


def load_hub_folder(folder: Path) -> TrainedNetwork:
    """Load the network of such a folder. Raises RunError that names the file and what is wrong with it."""
    if not (folder / CONFIG_FILE).exists():
        raise RunError(f"{folder / CONFIG_FILE} does not exist; scripts/push.py writes it, beside {WEIGHTS_FILE}")
    return load_network_files(folder / CONFIG_FILE, folder / WEIGHTS_FILE)


def upload(target: Path, repository: str, *, private: bool) -> str:
    """Upload the files of a folder to a repository of the hub, which is made where it is not there; return its address.

    private: whether a repository that is made can be seen by its owners alone. Raises RunError that says what the hub
    answered. huggingface_hub finds the token that its own log-in has stored.
    """
    hub = checked_hub(repository)
    with _said_by_the_hub(repository):
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=target, allow_patterns=list(HUB_FILES))
    return str(address)


def download(repository: str, revision: str | None) -> TrainedNetwork:
    """Load the network of a repository of the hub. Raises RunError that says what the hub answered.

    revision: a branch, tag or commit; None takes the newest.
    """
    hub = checked_hub(repository)
    with _said_by_the_hub(repository):
        folder = hub.snapshot_download(repository, revision=revision, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE])
    return load_hub_folder(Path(folder))


def checked_hub(repository: str) -> Any:
    """Import huggingface_hub. Raises RunError where it is not installed, or the name cannot be one of a repository."""
    if not REPOSITORY.fullmatch(repository):
        raise RunError(f"expected a repository such as user/name, found {repository!r}")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise RunError(f"{repository} is of the hub, which needs huggingface_hub: {HUB_EXTRA}")
    return importlib.import_module("huggingface_hub")


@contextmanager
def _said_by_the_hub(repository: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # its releases, and the clients of HTTP below them, raise of many kinds
        raise RunError(f"{repository}: the hub cannot be used: {first_line(error)}") from error
