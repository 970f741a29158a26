"""A trained network with its bands as a file, and those that come with the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from analytic_continuation.names import DEFAULT_MODEL
from analytic_continuation.unrolled.bands import BINS, BandFactors, Factors
from analytic_continuation.unrolled.network import UnrolledNetwork
from atomic_files import write_atomically

HEADER = "continuation_network/2"  # format and version; its value has the sizes as JSON
BANDS = tuple(f"band_factors.{name}" for name in Factors._fields)
LARGEST_FILE = 10**8  # bytes
LARGEST_SIZE = 512  # stages or channels
TRAINED = Path(__file__).resolve().parent.parent / "trained"


@dataclass(frozen=True, eq=False)
class ContinuationModel:
    """A trained network with the factors of its bands. stages, channels: its sizes."""

    network: UnrolledNetwork
    bands: BandFactors
    stages: int
    channels: int

    @property
    def num_parameters(self) -> int:
        """Return how many numbers were trained."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def save(self, path: Path | str) -> None:
        """Write a safetensors file, whole or not at all."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        sizes = json.dumps({"stages": self.stages, "channels": self.channels})
        bands = (self.bands.values, self.bands.positions, self.bands.weights)
        factors = {name: factor.float() for name, factor in zip(BANDS, bands, strict=True)}
        write_atomically(Path(path), save({**tensors, **factors}, {HEADER: sizes}))


def load_model(reference: Path | str = DEFAULT_MODEL) -> ContinuationModel:
    """Read what `ContinuationModel.save` wrote, or what is shipped under a name.

    Raises FileNotFoundError that lists the names, and ValueError that says what is wrong with a file.

        >>> load_model("gaussians").num_parameters < 100_000
        True
    """
    path = TRAINED / f"{reference}.safetensors" if str(reference) in shipped() else Path(reference)
    if not path.is_file():
        raise FileNotFoundError(
            f"{reference} is no file, and no shipped model (there are: {', '.join(shipped()) or 'none'})"
        )
    return _read(path, path.stat().st_mtime_ns)


def shipped() -> list[str]:
    """Return names of the models that come with the package."""
    return sorted(path.stem for path in TRAINED.glob("*.safetensors"))


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> ContinuationModel:
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; a model has at most {LARGEST_FILE:,}")
    try:
        with safe_open(path, framework="pt") as file:
            header, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from None
    bad = [name for name, tensor in tensors.items() if tensor.dtype != torch.float32 or not tensor.isfinite().all()]
    if bad:
        raise ValueError(f"{path}: expected finite numbers in single precision, found others in {bad[0][:50]}")
    stages, channels = _sizes(header, path)
    factors = [tensors.pop(name) for name in BANDS if name in tensors and tensors[name].shape == BINS]
    if len(factors) < len(BANDS):
        raise ValueError(f"{path}: expected {', '.join(BANDS)} {list(BINS)}, the factors of the bands, found none such")
    network = UnrolledNetwork(stages, channels)
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise ValueError(
            f"{path}: expected the weights of {stages} stages of {channels} channels, found others"
        ) from None
    return ContinuationModel(network.eval().requires_grad_(False), BandFactors(*factors), stages, channels)


def _sizes(header: dict[str, str], path: Path) -> tuple[int, int]:
    try:
        found = json.loads(header[HEADER])
        sizes = (found["stages"], found["channels"])
    except (KeyError, TypeError, ValueError, RecursionError):
        sizes = (None, None)
    if not all(type(size) is int and 1 <= size <= LARGEST_SIZE for size in sizes):
        raise ValueError(f"{path}: expected a model's header, {HEADER} with its stages and channels, found another")
    return sizes
