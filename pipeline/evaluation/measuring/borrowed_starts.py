"""What fooled images before, tried on others before an attack begins (A3; Liu et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks import undisturbed
from attacks.spec import Norm
from attacks.verdict import SURE, error_margin
from pipeline.data import ImageSet, as_float
from pipeline.errors import RunError
from pipeline.evaluation.measuring.adversarial_examples import ENTRY, FOLDER, AdversarialOrigin
from pipeline.runs.files import parse_json
from pipeline.runs.schemas import checked
from pipeline.runs.tensors import read_tensors

SAME_IMAGES = ("images", "norm")  # settings of `evaluate` without which perturbations are of other images or of no use


@torch.no_grad()
def try_perturbations(
    network: nn.Module, images: Tensor, labels: Tensor, perturbations: Tensor, *, eps: float, norm: Norm
) -> Tensor:
    """Return the images [N, C, H, W], those changed that one of the perturbations fools the network by.

    perturbations: [K, C, H, W], brought into the ball, and tried in turn on what still stands: at most K forward passes
    an image. What an attack finds afterwards is added to what is found here, so that it is never weaker.

        >>> linear = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
        >>> linear[1].weight.data = torch.tensor([[0.0], [1.0]])
        >>> image = torch.full((1, 1, 1, 1), 0.1)
        >>> try_perturbations(linear, image - 0.1, torch.tensor([0]), image * 9, eps=0.5, norm="Linf")
        tensor([[[[0.5000]]]])
    """
    changed, standing = images.clone(), torch.arange(len(images), device=images.device)
    with undisturbed(network, "running"):
        for perturbation in _inside(perturbations.to(images), eps, norm):
            if not len(standing):
                break
            tried = (images[standing] + perturbation).clamp(0, 1)
            fooled = error_margin(network(tried), labels[standing]) > SURE
            changed[standing[fooled]] = tried[fooled]
            standing = standing[~fooled]
    return changed


def _inside(perturbations: Tensor, eps: float, norm: Norm) -> Tensor:
    if norm == "Linf":
        return perturbations.clamp(-eps, eps)
    length: Tensor = torch.linalg.vector_norm(perturbations.flatten(1), dim=1)[:, None, None, None]
    return perturbations * (eps / length.clamp(min=eps))


def stored_perturbations(folder: Path, images: ImageSet, settings: Mapping[str, Any], most: int) -> Tensor:
    """Return at most `most` perturbations [K, C, H, W] that fooled any network on these images, spread over all stored.

    settings: those on which all figures depend, as JSON holds them; what was found on other data is left out. A file
    that cannot be read is left out too.
    """
    found = [torch.empty(0, *images.shape), *_stored(folder, images, settings)]
    pool = torch.cat(found)
    return pool[torch.linspace(0, len(pool) - 1, min(most, len(pool))).round().long()]


def _stored(folder: Path, images: ImageSet, settings: Mapping[str, Any]) -> Iterator[Tensor]:
    for path in sorted((folder / FOLDER).glob("*.safetensors")):
        try:
            stored = read_tensors(path)
            origin = checked(parse_json(stored.metadata.get(ENTRY, "null")), AdversarialOrigin, str(path))
        except RunError:
            continue
        places, attacked = stored.tensors["fooled"], stored.tensors["attacked"]
        if _of_same_images(origin.settings, settings) and len(places):
            clean = torch.cat(list(images.take(places).pixels([torch.arange(len(places))])))
            yield attacked - as_float(clean).cpu()


def _of_same_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["data"] == other["data"] and all(one["evaluate"][key] == other["evaluate"][key] for key in SAME_IMAGES)
