"""Evaluation of any classifier, without a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike
from pydantic import ValidationError
from torch import Tensor, nn

from attacks import undisturbed
from e2rnas.arrays import GivenImages
from e2rnas.cli.app import settings_of
from e2rnas.cli.composing.config_errors import described
from e2rnas.overrides import names_of
from e2rnas.results import Accuracies
from pipeline.compute.fabric import make_fabric
from pipeline.data import Images, ImageSet, load
from pipeline.evaluation.accuracy import Accuracy
from pipeline.evaluation.evaluation_plan import attack_cases
from pipeline.evaluation.measuring.measure import measure
from pipeline.evaluation.probing import probe
from pipeline.networks.user_module import logit_count
from pipeline.runs.progress import progress_bar
from pipeline.settings import Experiment

NAME = "the module"


def evaluate(
    module: nn.Module,
    images: GivenImages | str | Tensor | ArrayLike,
    labels: Tensor | ArrayLike | None = None,
    *,
    attacks: Sequence[str] = ("fgsm", "pgd-20"),
    eps: float = 8 / 255,
    norm: Literal["Linf", "L2"] = "Linf",
    restarts: int = 1,
    batch_size: int = 250,
    draws: int = 10,
    seed: int = 0,
) -> Accuracies:
    """Measure the accuracy of a classifier, clean and under attacks, with 95 % intervals.

    module: takes images [N, C, H, W] in [0, 1], which it normalises itself, and returns logits [N, classes]. It stays
    on its device, and in its mode.
    images: float [N, C, H, W] in [0, 1], or uint8; or a data set, whose test images are taken: what `e2rnas.images`
    gives, or the name of a group of conf/data, such as "digits".
    labels: classes from 0, [N]; none beside a data set.
    attacks: names as `python scripts/evaluate.py --help` lists them, such as "autoattack".
    eps: radius in `norm`.  restarts: random starts of an attack.  batch_size: images attacked at once.
    draws: passes over which a module that draws at random is measured.  seed: of all that attacks draw.
    Raises ValueError where module, images and attacks do not fit, also where a gradient is missing that an attack
    follows.

        >>> images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> bright = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3, 2))
        >>> labels = bright(images).argmax(dim=1)
        >>> found = evaluate(bright, images, labels, attacks=["pgd-20"], eps=0.1)
        >>> [row.attack for row in found], found["clean"].accuracy
        (['clean', 'pgd-20'], 1.0)
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"module: expected a torch.nn.Module, found {type(module).__name__}")
    asked = {"attacks": names_of(attacks), "eps": eps, "norm": norm, "restarts": restarts}
    experiment = _experiment(seed, asked | {"batch_size": batch_size, "draws": draws})
    device = next((tensor.device for tensor in module.state_dict().values()), torch.device("cpu"))
    tested = _tested(images, labels).to(device)
    with (
        undisturbed(module, "running"),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        return Accuracies(tuple(_measured(module, tested, experiment, device)))


def _measured(module: nn.Module, tested: ImageSet, experiment: Experiment, device: torch.device) -> list[Accuracy]:
    """Measure each case on a module in evaluation mode."""
    settings = experiment.evaluate
    ((image, _),) = tested.take(torch.zeros(1, dtype=torch.int64)).batches(1)
    num_classes = logit_count(NAME, module, image)
    if int(tested.labels.max()) >= num_classes:
        raise ValueError(
            f"labels: expected classes up to {num_classes - 1}, as {NAME} has {num_classes} logits, found "
            f"{int(tested.labels.max())}"
        )
    fabric = make_fabric(experiment.fabric.model_copy(update={"accelerator": device.type}))
    cases = attack_cases(probe(module, tested, name=NAME, settings=settings, fabric=fabric), experiment, num_classes)
    batches = -(-len(tested) // settings.batch_size)
    with progress_bar("evaluate", len(cases) * batches) as bar:
        return [
            measure(
                module,
                tested,
                case,
                num_classes=num_classes,
                batch_size=settings.batch_size,
                seed=experiment.seed,
                fabric=fabric,
                bar=bar,
            ).accuracy
            for case in cases
        ]


def _experiment(seed: int, evaluate: dict[str, Any]) -> Experiment:
    try:
        return Experiment.model_validate({"seed": seed, "evaluate": evaluate})
    except ValidationError as error:
        raise ValueError(described(error)) from None


def _tested(images: GivenImages | str | Tensor | ArrayLike, labels: Tensor | ArrayLike | None) -> ImageSet:
    """Return images and labels as tensors, checked."""
    if isinstance(images, GivenImages | str):
        if labels is not None:
            raise ValueError("labels: expected none beside a data set, which has its own")
        # any program that starts from no run folder composes the group
        return (
            images.test()
            if isinstance(images, GivenImages)
            else load(settings_of("cells", [f"data={images}"]).data).test
        )
    pixels, classes = torch.as_tensor(images), torch.as_tensor(labels if labels is not None else [])
    if pixels.ndim != 4 or not len(pixels):
        raise ValueError(f"images: expected [N, C, H, W], found the shape {list(pixels.shape)}")
    if pixels.dtype != torch.uint8:
        pixels = pixels.float()
        lowest, highest = pixels.min().item(), pixels.max().item()
        if not 0 <= lowest <= highest <= 1:
            raise ValueError(
                f"images: expected uint8 or numbers in [0, 1], found {lowest:.3g} to {highest:.3g}; put normalisation "
                "inside the module"
            )
    if classes.is_floating_point() or classes.shape != pixels.shape[:1] or classes.min() < 0:
        raise ValueError(
            f"labels: expected {len(pixels)} whole numbers from 0, found {classes.dtype} {list(classes.shape)}"
        )
    return Images(pixels, classes.long())
