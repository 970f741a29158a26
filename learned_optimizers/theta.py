"""Meta-parameters of a learned optimizer: new ones, as one vector, and as a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from atomic_files import open_regular, write_atomically
from learned_optimizers.architectures.registry import architecture

HEADER = "learned_optimizer/1"  # format and version; a single entry, since safetensors writes several in any order
LARGEST_THETA = 10**9  # bytes of a file
LARGEST_CARD = 10**7
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)  # of fewer bits PyTorch has no arithmetic
TRAINED = Path(__file__).resolve().parent / "trained"


@dataclass(frozen=True, eq=False)
class Theta:
    """Meta-parameters of the architecture of that name. Raises ValueError where names or shapes are not its own.

    horizon: steps of the trainings that it was trained on; None where nobody says.
    """

    architecture: str
    tensors: Mapping[str, Tensor]
    horizon: int | None = None

    def __post_init__(self) -> None:
        expected = dict(architecture(self.architecture).shapes)
        found = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        wrong = [
            name for name in [*expected, *sorted(found.keys() - expected)] if expected.get(name) != found.get(name)
        ]
        if wrong:
            name = wrong[0]
            raise ValueError(
                f"expected the meta-parameters of {self.architecture}: {len(wrong)} tensors differ, the first is "
                f"{name} (expected {expected.get(name)}, found {found.get(name)})"
            )
        # one order, whatever the file's
        object.__setattr__(self, "tensors", {name: self.tensors[name] for name in expected})

    @property
    def num_parameters(self) -> int:
        """Return how many numbers they are."""
        return sum(prod(shape) for shape in architecture(self.architecture).shapes.values())

    @property
    def fingerprint(self) -> str:
        """Tells other meta-parameters apart: SHA-256 of the architecture and the values in single precision."""
        content = self.vector().detach().to("cpu", torch.float32).numpy().tobytes()
        return hashlib.sha256(self.architecture.encode() + content).hexdigest()

    def vector(self) -> Tensor:
        """Join all tensors in one: [n]."""
        return torch.cat([tensor.reshape(-1) for tensor in self.tensors.values()])

    def with_vector(self, vector: Tensor) -> Theta:
        """Make the same architecture with the values of `vector` [n]; differentiable. ValueError for other lengths."""
        if vector.shape != (self.num_parameters,):
            raise ValueError(f"expected a vector [{self.num_parameters}], found {list(vector.shape)}")
        parts = torch.split(vector, [tensor.numel() for tensor in self.tensors.values()])
        named = zip(self.tensors.items(), parts, strict=True)
        return replace(self, tensors={name: part.reshape(tensor.shape) for (name, tensor), part in named})

    def detached(self) -> Theta:
        """Copy the values out of any graph, as a copy needs them."""
        return replace(self, tensors={name: tensor.detach() for name, tensor in self.tensors.items()})

    def save(self, path: Path | str) -> None:
        """Write a safetensors file, whole or not at all; its header says which architecture it is for."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        write_atomically(Path(path), save(tensors, {HEADER: self.architecture}))


def new_theta(name: str, *, generator: torch.Generator) -> Theta:
    """Meta-parameters before any training. Raises ValueError for a name that no architecture has."""
    return Theta(name, architecture(name).initial_tensors(generator))


def load_theta(reference: Path | str) -> Theta:
    """Read what `Theta.save` wrote, or what is shipped under a name, such as "mlp".

    Its horizon is what the card says, the JSON of the same name that meta-training writes beside; None without one.
    Raises FileNotFoundError that lists the names, and ValueError that says what is wrong with a file.
    """
    path = Path(reference)
    if str(reference) in shipped():
        path = TRAINED / f"{reference}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"{reference} is no file, and no shipped optimizer (there are: {', '.join(shipped()) or 'none'})"
        )
    if path.stat().st_size > LARGEST_THETA:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; meta-parameters have at most {LARGEST_THETA:,}")
    try:
        with safe_open(path, framework="pt") as file:
            header, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from None
    if HEADER not in header:
        raise ValueError(f"{path}: expected an optimizer's header, {HEADER} and an architecture, found {header}")
    bad = [name for name, tensor in tensors.items() if tensor.dtype not in DTYPES or not tensor.isfinite().all()]
    if bad:
        raise ValueError(f"{path}: expected finite floating-point values, found others in {bad[0]}")
    try:
        return Theta(header[HEADER], tensors, horizon_on_card(path.with_suffix(".json")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def horizon_on_card(path: Path) -> int | None:
    """Return for how many steps a card says that its optimizer was trained; None where it does not, or is no card."""
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            content = file.read(LARGEST_CARD + 1)
        if len(content) > LARGEST_CARD:
            return None
        horizon = json.loads(content)["settings"]["meta"]["horizon"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return horizon if type(horizon) is int and horizon > 0 else None


def shipped() -> list[str]:
    """Return names of the optimizers that come with the package."""
    return sorted(path.stem for path in TRAINED.glob("*.safetensors"))
