"""Evaluation: accuracy of a trained network on test images, clean and under named attacks, with intervals."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from scipy.stats import binomtest
from torch import Tensor, nn

from attacks import CheckedAttack, evaluation_attack
from pipeline.artifacts import TrainedNetwork, load_network
from pipeline.data import ImageData, Images, balanced_indices
from pipeline.progress import Bar, progress_bar
from pipeline.retrain import retrain
from pipeline.run import RunError, exclusive, plain, read_json, seed_stream, write_json
from pipeline.settings import Experiment
from search_space import Genotype

STAGE = "evaluate"
CLEAN = "clean"


@dataclass(frozen=True)
class Accuracy:
    """Images that are classified right, of all that were tried; [low, high] is the 95 % Wilson interval."""

    attack: str
    settings: dict[str, Any]
    right: int
    images: int
    accuracy: float
    low: float
    high: float
    seconds: float


def evaluate(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, trained: TrainedNetwork
) -> list[Accuracy]:
    """Measure the network of a run folder and write robustness.json.

    An attack is tried on the images that the network classifies right; one that it leaves right counts as robust, so
    that robust accuracy is a part of all images. An attack that robustness.json already holds with the same settings is
    not run again, and stays there when others are asked for. It runs in one process. Raises RunError or ValueError
    before any work when network, data and attacks do not fit.
    """
    check_fits(trained, data)
    settings = plain({"seed": experiment.seed, "data": experiment.data, "evaluate": experiment.evaluate})
    settings["precision"] = experiment.fabric.precision
    for attack in experiment.evaluate.attacks:
        _attack(attack, trained.network, experiment, data.num_classes)  # refuses what it cannot attack
    path = folder / "robustness.json"
    with exclusive(folder, STAGE):
        images = _test_images(data, experiment.evaluate.images).to(fabric.device)
        network = fabric.to_device(trained.network).eval()
        known = _known(path, settings, trained)
        names = [CLEAN, *experiment.evaluate.attacks]
        batches = -(-len(images) // experiment.evaluate.batch_size)
        with progress_bar(STAGE, len(names) * batches) as bar:
            for name in names:
                if name in known:
                    bar.advance(f"{name} done before", by=batches)
                    continue
                known[name] = measure(network, images, name, experiment, data.num_classes, fabric, bar)
                _write(path, settings, trained, list(known.values()))
        return [known[name] for name in names]


def _attack(name: str, network: nn.Module, experiment: Experiment, num_classes: int) -> CheckedAttack:
    settings = experiment.evaluate
    return evaluation_attack(
        name, network, eps=settings.eps, num_classes=num_classes, seed=experiment.seed, cw_radius=settings.cw_radius
    )


def measure(
    network: nn.Module, images: Images, name: str, experiment: Experiment, num_classes: int, fabric: Fabric, bar: Bar
) -> Accuracy:
    """Accuracy under one attack (or none, `clean`) on all `images`."""
    settings = experiment.evaluate
    attack = None if name == CLEAN else _attack(name, network, experiment, num_classes)
    seed_stream(experiment.seed, STAGE, name)  # a network that holds noise draws from the global generators
    started, right, seen = time.monotonic(), 0, 0
    for inputs, labels in images.batches(settings.batch_size):
        with fabric.autocast():
            correct = classified_right(network, inputs, labels)
            if attack is not None and correct.any():
                correct[correct.clone()] = classified_right(
                    network, attack(inputs[correct], labels[correct]), labels[correct]
                )
        right, seen = right + int(correct.sum()), seen + len(labels)
        bar.advance(f"{name} {right / seen:.1%}")
    low, high = wilson_interval(right, seen)
    record = {} if attack is None else attack.settings
    return Accuracy(name, record, right, seen, right / seen, low, high, round(time.monotonic() - started, 2))


def retrain_and_evaluate(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, *, name: str, genotype: Genotype
) -> tuple[list[Accuracy], dict[str, int]]:
    """Both stages in a run folder, or what they left there: the accuracies, and the network's cost."""
    retrain(folder, experiment, data, fabric, name=name, genotype=genotype)
    trained = load_network(folder)
    return evaluate(folder, experiment, data, fabric, trained), trained.description.cost()


@torch.no_grad()
def classified_right(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """[N] booleans."""
    right: Tensor = network(images).argmax(dim=1) == labels
    return right


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927)."""
    interval = binomtest(right, images).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def read_accuracies(folder: Path) -> list[Accuracy]:
    """The figures of a run's robustness.json. Raises RunError when there are none."""
    content = read_json(folder / "robustness.json")
    try:
        return [Accuracy(**row) for row in content["attacks"]]
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder / 'robustness.json'} is not what evaluate.py writes: {error}") from None


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


def _test_images(data: ImageData, limit: int | None) -> Images:
    if limit is None:
        return data.test
    if limit > len(data.test):
        raise RunError(f"evaluate.images={limit} asks for more than the {len(data.test)} test images there are")
    return data.test.take(torch.from_numpy(balanced_indices(data.test.labels.numpy(), limit)))


def _known(path: Path, settings: dict[str, Any], trained: TrainedNetwork) -> dict[str, Accuracy]:
    if not path.exists():
        return {}
    content = read_json(path)
    network = trained.description.model_dump(mode="json")
    if not isinstance(content, dict) or not {"settings", "network", "attacks"} <= set(content):
        raise RunError(f"{path} is not what evaluate.py writes; remove it or choose another run=")
    if _without_attacks(content["settings"]) != _without_attacks(settings) or content["network"] != network:
        return {}
    return {result.attack: result for result in read_accuracies(path.parent)}


def _without_attacks(settings: dict[str, Any]) -> dict[str, Any]:
    evaluate_settings = {key: value for key, value in settings["evaluate"].items() if key != "attacks"}
    return settings | {"evaluate": evaluate_settings}


def _write(path: Path, settings: dict[str, Any], trained: TrainedNetwork, results: list[Accuracy]) -> None:
    write_json(
        path,
        {
            "settings": settings,
            "network": trained.description.model_dump(mode="json"),
            "cost": trained.description.cost(),
            "attacks": [asdict(result) for result in results],
        },
    )
