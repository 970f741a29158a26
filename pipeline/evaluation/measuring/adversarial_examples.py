"""Adversarial examples that an evaluation found: kept beside the figures that they prove, and checked again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save
from torch import Tensor, nn

from attacks.verdict import ROUNDING, SURE, error_margin, inside_ball
from pipeline.data import ImageSet
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import Accuracy, CaseSettings
from pipeline.evaluation.measuring.measure import Measurement
from pipeline.presentation.words import counted
from pipeline.runs.files import parse_json, write_atomically
from pipeline.runs.schemas import Digest, Schema, checked
from pipeline.runs.tensors import read_tensors

FOLDER = "adversarial"
ENTRY = "examples"  # of a file's header


class AdversarialOrigin(Schema):
    """What a file of adversarial examples belongs to: the attack, the weights, and the settings of all figures."""

    attack: CaseSettings
    state_sha256: Digest | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class Certificate:
    """What was found when the adversarial examples behind a figure were checked.

    right: images that stay right by the figure.  fooled: examples that are stored, None where nothing attacks.
    faults: what is wrong, in words.
    """

    attack: str
    right: int
    images: int
    fooled: int | None
    faults: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.faults

    def __str__(self) -> str:
        if self.faults:
            return f"{self.attack}: {'; '.join(self.faults)}"
        how = "classified again" if self.fooled is None else f"proven by {counted(self.fooled, 'adversarial example')}"
        return f"{self.attack}: {self.right} of {self.images} right, {how}"


def keep_adversarial(folder: Path, measurement: Measurement, measured: Mapping[str, Any]) -> None:
    """Write the adversarial examples behind a figure, atomically.

    measured: the state_sha256 and settings of `AdversarialOrigin`.
    """
    origin = _origin(measurement.accuracy, measured)
    tensors = {"fooled": measurement.fooled, "attacked": measurement.attacked.contiguous()}
    path = folder / FOLDER / file_name(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    words = {ENTRY: json.dumps(origin.model_dump(mode="json"), sort_keys=True)}
    write_atomically(path, save(tensors, metadata=words))


def file_name(origin: AdversarialOrigin) -> str:
    """Return the file's name: the attack's, and the beginning of a digest of all that it belongs to."""
    content = json.dumps(origin.model_dump(mode="json"), sort_keys=True)
    return f"{origin.attack['name']}-{hashlib.sha256(content.encode()).hexdigest()[:8]}.safetensors"


def check_adversarial(
    folder: Path,
    row: Accuracy,
    network: nn.Module,
    images: ImageSet,
    right: Tensor,
    *,
    measured: Mapping[str, Any],
    batch_size: int,
) -> Certificate:
    """Check that every example behind a figure is an image in the ball that fools, and that they make up the figure.

    row: the figure.  right: which images the network classifies right before the attack, bool [N].
    """
    fooled, faults = 0, []
    try:
        places, attacked = _read(folder, row, measured, images)
        fooled = len(places)
        faults = list(_faults(row, network, images, right, places, attacked, batch_size))
    except RunError as error:
        faults = [str(error)]
    return Certificate(row.attack, row.right, row.images, fooled, tuple(faults))


def _origin(row: Accuracy, measured: Mapping[str, Any]) -> AdversarialOrigin:
    return AdversarialOrigin(attack=cast("CaseSettings", row.settings), **measured)


def _read(folder: Path, row: Accuracy, measured: Mapping[str, Any], images: ImageSet) -> tuple[Tensor, Tensor]:
    """Return places int64 [K] and images [K, C, H, W]. Raises RunError where they are not those of the figure."""
    origin = _origin(row, measured)
    path = folder / FOLDER / file_name(origin)
    if not path.exists():
        raise RunError(f"no adversarial examples are stored ({path}); evaluate.replace=true measures the figure anew")
    stored = read_tensors(path)
    wrong = f"{path} is not what evaluate.py writes"
    if checked(parse_json(stored.metadata.get(ENTRY, "null")), AdversarialOrigin, wrong) != origin:
        raise RunError(f"{path} is of another attack, other weights or other settings")
    places, attacked = stored.tensors.get("fooled"), stored.tensors.get("attacked")
    if places is None or attacked is None or places.dtype != torch.int64 or attacked.dtype != torch.float32:
        raise RunError(f"{wrong}: expected fooled, int64, and attacked, float32")
    if places.ndim != 1 or attacked.shape != (len(places), *images.shape):
        raise RunError(f"{wrong}: expected images {[len(places), *images.shape]}, found {list(attacked.shape)}")
    if len(places) and not (places[0] >= 0 and places[-1] < len(images) and bool((places.diff() > 0).all())):
        raise RunError(f"{wrong}: expected numbers of images from 0 to {len(images) - 1}, rising")
    return places, attacked


@torch.no_grad()
def _faults(
    row: Accuracy,
    network: nn.Module,
    images: ImageSet,
    right: Tensor,
    places: Tensor,
    attacked: Tensor,
    batch_size: int,
) -> Iterator[str]:
    if row.right != int(right.sum()) - len(places) or not bool(right[places].all()):
        yield (
            f"{int(right.sum())} images right before the attack, less {counted(len(places), 'example')}, "
            f"are not the {row.right} of the figure"
        )
    outside = standing = 0
    chosen = images.take(places).batches(batch_size) if len(places) else ()
    for first, (clean, labels) in zip(range(0, len(places), batch_size), chosen, strict=False):
        tried = attacked[first : first + len(labels)].to(clean.device)
        outside += int((~inside_ball(tried, clean, row.settings["eps"], row.settings["norm"], 2 * ROUNDING)).sum())
        standing += int((error_margin(network(tried), labels) < -SURE).sum())
    if outside:
        yield f"{counted(outside, 'example')} outside the ball of {row.settings['eps']:.4g} in {row.settings['norm']}"
    if standing:
        yield f"{counted(standing, 'example')} that the network classifies right"
