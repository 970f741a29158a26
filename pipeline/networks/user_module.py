"""A user's own module, brought by import path, to be evaluated as the project's networks are."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from pipeline.data import ImageData
from pipeline.errors import RunError
from pipeline.networks.network_files import load_weights
from pipeline.networks.state_digest import state_sha256
from pipeline.runs.files import LARGEST_WEIGHTS, read_bytes
from pipeline.settings import Settings
from search_space.cost.network_cost import module_cost


class ForeignDescription(Settings):
    """Where a module came from, what it holds, and for which data; what network.json is for the project's own.

    sha256: of the file of weights.  state_sha256: of the module as it was evaluated, see `state_sha256`.
    sizes: as counted; without what cannot be counted.
    """

    format: Literal["module"] = "module"
    name: str
    factory: str
    arguments: dict[str, bool | int | float | str | None]
    weights: str | None
    sha256: str | None
    state_sha256: str
    in_channels: int
    image_size: int
    class_names: tuple[str, ...]
    data: str
    sizes: dict[str, int] | None

    def cost(self) -> dict[str, int] | None:
        """Return the size of the module, as counted; None where it cannot be."""
        return None if self.sizes is None else dict(self.sizes)


@dataclass(frozen=True)
class ForeignNetwork:
    """The module in evaluation mode, and its description.

    uncounted: why parts of its size are not counted, in one line each.
    """

    network: nn.Module
    description: ForeignDescription
    uncounted: tuple[str, ...] = ()

    @property
    def state_sha256(self) -> str:
        """Digest of its weights, by which figures are tied to them."""
        return self.description.state_sha256


def load_foreign(
    factory: str, arguments: Mapping[str, Any] | None, weights: str | None, data: ImageData
) -> ForeignNetwork:
    """Import and call `package.module:factory`, and load weights from a .safetensors file.

    This runs the user's code, at the user's word. The module takes float images [N, C, H, W] in [0, 1], normalises them
    itself and returns logits [N, classes]. Raises RunError when one of this is not so.
    """
    module = _made(factory, dict(arguments or {}))
    if weights is not None:
        load_weights(module, Path(weights), f"the module of {factory}")
    _put_in_evaluation_mode(module)
    images = torch.zeros(1, data.in_channels, data.image_size, data.image_size)
    logit_count(f"evaluate.model={factory}", module, images, of=f" of {data.name}", expected=data.num_classes)
    cost = module_cost(module, images)
    description = ForeignDescription(
        name=factory.rpartition(":")[2],
        factory=factory,
        arguments=dict(arguments or {}),
        weights=weights,
        sha256=None if weights is None else hashlib.sha256(read_bytes(Path(weights), LARGEST_WEIGHTS)).hexdigest(),
        state_sha256=_digest(factory, module),
        in_channels=data.in_channels,
        image_size=data.image_size,
        class_names=data.class_names,
        data=data.name,
        sizes=cost.sizes,
    )
    return ForeignNetwork(module, description, cost.reasons)


def _made(reference: str, arguments: dict[str, Any]) -> nn.Module:
    module_name, _, name = reference.partition(":")
    as_path = module_name.removesuffix(".py").replace("\\", "/")
    if not module_name or not name.isidentifier() or module_name.endswith(".py") or "/" in as_path:
        dotted = ".".join(part for part in as_path.split("/") if part not in ("", "."))
        example = f"{dotted}:{name}" if dotted and name.isidentifier() else "models.resnet:build"
        raise RunError(f"evaluate.model={reference}: expected package.module:factory, as in {example}")
    try:
        factory = getattr(importlib.import_module(module_name), name, None)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise RunError(f"evaluate.model={reference}: importing {module_name} raised {_said(error)}") from error
    if not callable(factory):
        raise RunError(f"evaluate.model={reference}: {module_name} has no function or class {name}")
    try:
        module = factory(**arguments)
    except (Exception, SystemExit) as error:  # see above
        raise RunError(f"evaluate.model={reference}: calling it with {arguments} raised {_said(error)}") from error
    if not isinstance(module, nn.Module):
        raise RunError(f"evaluate.model={reference}: expected a torch.nn.Module, it returned {type(module).__name__}")
    return module


def _put_in_evaluation_mode(module: nn.Module) -> None:
    with suppress(NotImplementedError):  # an exported graph keeps the mode that it was exported in
        module.eval()


def logit_count(name: str, module: nn.Module, image: torch.Tensor, *, of: str = "", expected: int | None = None) -> int:
    """Return how many classes the module tells apart, from its logits of one image, float [1, C, H, W].

    name, of: what the module and the image are called.  expected: classes, where they are known.
    Raises RunError where it cannot take the image, or gives no logits, or others than expected.
    """
    given = f"an image {list(image.shape)}{of}"
    try:
        with torch.no_grad():
            logits = module(image)
    except Exception as error:  # see above
        raise RunError(f"{name}: {given} raised {_said(error)}") from error
    is_row = isinstance(logits, torch.Tensor) and logits.ndim == 2 and len(logits) == 1
    if not is_row or expected not in (None, logits.shape[1]):
        found = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise RunError(f"{name}: expected logits [1, {expected or 'classes'}] of {given}, found {found}")
    count: int = logits.shape[1]
    return count


def _digest(reference: str, module: nn.Module) -> str:
    """SHA-256 of what the module holds. Raises RunError where its state_dict raises."""
    try:
        return state_sha256(module)
    except Exception as error:  # see above
        raise RunError(f"evaluate.model={reference}: reading its state_dict raised {_said(error)}") from error


def _said(error: BaseException) -> str:
    """Say it in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
