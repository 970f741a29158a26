"""A few test images, clean and attacked, with what the network calls them: kept by evaluation, shown by the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save
from torch import Tensor, nn

from attacks import CheckedAttack
from pipeline.data import ImageSet, as_float
from pipeline.evaluation.accuracy import CaseSettings, classified_right
from pipeline.runs.files import keep_beside, parse_json, write_atomically
from pipeline.runs.schemas import Digest, Schema, checked, may_be_same
from pipeline.runs.tensors import read_tensors

EXAMPLES_FILE = "examples.safetensors"
EXAMPLES_ATTACK = (
    "pgd-20"  # returns every image changed, where attacks with restarts leave those they cannot break as they were
)
ENTRY = "examples"  # of the file's header
TRIED, MOST_KEPT = 64, 8  # images that are attacked, and of these kept


class ExamplesOrigin(Schema):
    """How examples were made: the attack, the weights, and the settings on which all figures depend.

    Files of older versions hold the attack alone.
    """

    attack: CaseSettings
    state_sha256: Digest | None = None
    settings: dict[str, Any] | None = None


@dataclass(frozen=True)
class Examples:
    """Images that the network classifies right, before and after an attack.

    clean: uint8 [N, C, H, W].  attacked: float32 [N, C, H, W] in [0, 1].  labels, predictions: int64 [N], of the clean
    and of the attacked images.
    """

    clean: Tensor
    attacked: Tensor
    labels: Tensor
    predictions: Tensor
    origin: ExamplesOrigin

    def __post_init__(self) -> None:
        shape, batch = self.clean.shape, self.clean.shape[:1]
        fits = self.attacked.shape == shape and self.labels.shape == self.predictions.shape == batch
        if len(shape) != 4 or not 0 < batch[0] <= MOST_KEPT or not fits:
            raise ValueError(f"expected at most {MOST_KEPT} images [N, C, H, W] twice, labels and predictions [N]")
        types = [tensor.dtype for tensor in (self.clean, self.attacked, self.labels, self.predictions)]
        if types != [torch.uint8, torch.float32, torch.int64, torch.int64] or shape[1] not in (1, 3):
            raise ValueError(f"expected images of uint8 and float32 in 1 or 3 channels, labels of int64, found {types}")
        if min(self.labels.min(), self.predictions.min()) < 0:
            raise ValueError("expected labels from 0 up")
        if not ((self.attacked >= 0) & (self.attacked <= 1)).all():  # so that NaN is refused, too
            raise ValueError("expected attacked images in [0, 1]")
        if not isinstance(self.settings, Mapping) or not isinstance(self.settings.get("name"), str):
            raise ValueError("expected an attack's settings with its name")

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the settings of the attack."""
        return dict(self.origin.attack)

    def is_of(self, state_sha256: str | None) -> bool:
        """Return whether it may be shown of these weights; where either digest is unknown, it is taken for theirs."""
        return may_be_same(state_sha256, self.origin.state_sha256)

    @property
    def perturbation(self) -> Tensor:
        """Return what the attack added: float32 [N, C, H, W] in [-1, 1]."""
        return self.attacked - as_float(self.clean)


@torch.no_grad()
def keep_examples(
    folder: Path,
    network: nn.Module,
    images: ImageSet,
    attack: CheckedAttack,
    *,
    measured: Mapping[str, Any],
    batch_size: int = TRIED,
) -> None:
    """Write examples.safetensors: the first images that the attack turns, and the first that it leaves right.

    As many of both, where there are, of the first TRIED, but at most `batch_size`, that the network classifies right.
    Nothing is written where there are none of these. Examples of other weights or settings are kept beside, under a
    number.
    measured: the state_sha256 and settings of `ExamplesOrigin`.
    """
    tried = images.take(_first_right(network, images, min(TRIED, batch_size))).kept()
    if not len(tried):
        return
    attacked = attack(as_float(tried.images), tried.labels).float()
    predictions = network(attacked).argmax(dim=1)
    chosen = _of_both(predictions != tried.labels)
    clean = tried.take(chosen)
    tensors = {
        "clean": clean.images,
        "attacked": attacked[chosen],
        "labels": clean.labels,
        "predictions": predictions[chosen],
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    origin = ExamplesOrigin(attack=cast("CaseSettings", attack.settings), **measured)
    path = folder / EXAMPLES_FILE
    if _origin_of(path) != origin:
        keep_beside(path)
    # one entry: safetensors writes several in an order that changes from call to call
    write_atomically(path, save(tensors, metadata={ENTRY: json.dumps(origin.model_dump(mode="json"), sort_keys=True)}))


def read_examples(path: Path) -> Examples:
    """Return what `keep_examples` wrote. Raises ValueError when it is something else."""
    stored, names = read_tensors(path), ("clean", "attacked", "labels", "predictions")
    missing = [name for name in names if name not in stored.tensors]
    if missing:
        raise ValueError(f"expected tensors {', '.join(names)}; {', '.join(missing)} missing")
    tensors = {name: stored.tensors[name] for name in names}
    words = stored.metadata  # older versions wrote the attack alone
    content = parse_json(words[ENTRY]) if ENTRY in words else {"attack": parse_json(words.get("attack", "{}"))}
    origin = checked(content, ExamplesOrigin, f"{path} is not what the stages write")
    return Examples(**tensors, origin=origin)


def _origin_of(path: Path) -> ExamplesOrigin | None:
    """None where there are no examples, or none that can be read."""
    try:
        return read_examples(path).origin
    except ValueError:
        return None


def _first_right(network: nn.Module, images: ImageSet, most: int) -> Tensor:
    """Indices of the first images that are classified right, `most` or all there are: int64, rising."""
    right: list[Tensor] = []
    for inputs, labels in images.batches(most):
        right.append(classified_right(network, inputs, labels))
        if sum(int(part.sum()) for part in right) >= most:
            break
    return torch.cat(right).nonzero().flatten()[:most]


def _of_both(turned: Tensor) -> Tensor:
    """Indices of at most MOST images, half of them turned where there are enough of both."""
    fallen, standing = turned.nonzero().flatten(), (~turned).nonzero().flatten()
    fallen = fallen[: max(MOST_KEPT // 2, MOST_KEPT - len(standing))]
    return torch.cat([fallen, standing[: MOST_KEPT - len(fallen)]])
