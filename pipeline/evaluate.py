"""Evaluation: accuracy of a network on test images, clean, attacked and corrupted, with intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from pydantic import ValidationError

from pipeline.accuracy import Accuracy, Trial, count_by_class, measure
from pipeline.artifacts import TrainedNetwork, check_fits, load_network
from pipeline.data import ImageData, ImageSet, balanced_indices
from pipeline.environment import environment
from pipeline.examples import ATTACK as EXAMPLES_ATTACK
from pipeline.examples import keep_examples
from pipeline.files import RunError, read_json, write_json
from pipeline.foreign import ForeignNetwork
from pipeline.masking import NEEDED, Verdict, judge
from pipeline.probing import Probed, probe
from pipeline.progress import progress_bar
from pipeline.retrain import retrain
from pipeline.retraining import Retraining
from pipeline.run import exclusive, plain
from pipeline.settings import HOW_IMAGES_ARE_READ, EvaluateSettings, Experiment
from pipeline.trials import attack_on, planned
from search_space import Genotype

STAGE = "evaluate"
FILE = "robustness.json"
WHAT_IS_TRIED = ("attacks", "sweep", "sweep_attack", "checks", "surrogate", "corruptions", "models", "transfer_attack")
WHOSE = ("model", "model_arguments", "weights")
"""Settings that say which rows there are, and of which network; on all others every row depends."""

SECTIONS = ("attacks", "sweep", "check_rows", "corruptions")
Sections = dict[str, list[Accuracy]]
"""The lists of accuracies in robustness.json, by SECTIONS."""


def evaluate(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, subject: TrainedNetwork | ForeignNetwork
) -> list[Accuracy]:
    """Measure a network and write robustness.json; the accuracies under the attacks asked for are returned.

    An attack is tried on the images that the network classifies right; one that it leaves right counts as robust, so
    that robust accuracy is a part of all images. What robustness.json already holds with the same settings is not
    measured again, and stays there when something else is asked for. Processes share the batches, and find what one
    finds; the first writes. Raises RunError or ValueError before any work when network, data and attacks do not fit.
    """
    if isinstance(subject, TrainedNetwork):
        check_fits(subject, data)
    elif (folder / "network.json").exists():
        raise RunError(f"{folder} holds a network of its own; choose another run= for evaluate.model")
    network = fabric.to_device(subject.network)
    images = tested(data, experiment.evaluate.images).to(fabric.device)
    probed = probe(network, images, name=subject.description.name, settings=experiment.evaluate, fabric=fabric)
    plan = planned(probed, experiment, data, fabric)
    with exclusive(folder, STAGE, take=fabric.is_global_zero):
        sections = _measure_all(folder, experiment, data, fabric, subject, plan, images)
        if fabric.is_global_zero and probed.gradient != "none":
            attack = attack_on(probed, experiment, data.num_classes, EXAMPLES_ATTACK)
            keep_examples(folder, network, images, attack, batch_size=experiment.evaluate.batch_size)
    return [_find(sections, trial) for trial in plan["attacks"]]


def _measure_all(
    folder: Path,
    experiment: Experiment,
    data: ImageData,
    fabric: Fabric,
    subject: TrainedNetwork | ForeignNetwork,
    plan: Mapping[str, list[Trial]],
    images: ImageSet,
) -> Sections:
    """Run what is not yet known, and store every accuracy as soon as it is there."""
    sections = _known(folder / FILE, experiment, subject)
    fabric.barrier()  # all processes have read what the first one is about to write
    header = _header(experiment, data, subject, images)
    size = experiment.evaluate.batch_size
    batches = -(-len(images) // size)
    with progress_bar(STAGE, sum(map(len, plan.values())) * batches, show=fabric.is_global_zero) as bar:
        for section, trial in ((section, trial) for section, trials in plan.items() for trial in trials):
            found = _look_up(sections, trial)
            if found is None:
                found = measure(
                    subject.network,
                    images,
                    trial,
                    num_classes=data.num_classes,
                    batch_size=size,
                    seed=experiment.seed,
                    fabric=fabric,
                    bar=bar,
                )
            else:
                bar.advance(f"{trial.name} done before", by=batches)
            _keep(sections, section, found)
            if fabric.is_global_zero:
                write_json(folder / FILE, header | _stored(sections, data.num_classes))
    return sections


def _look_up(sections: Sections, trial: Trial) -> Accuracy | None:
    """The same trial in any section, under the name that it has in this one."""
    for row in (row for rows in sections.values() for row in rows):
        if row.settings == trial.settings and (row.settings or row.attack == trial.name):
            return replace(row, attack=trial.name)
    return None


def _find(sections: Sections, trial: Trial) -> Accuracy:
    return next(row for row in sections["attacks"] if row.attack == trial.name)


def _keep(sections: Sections, section: str, found: Accuracy) -> None:
    """Names are unique but in a sweep, whose rows are attacks at several radii each."""
    if found not in sections[section]:
        others = [row for row in sections[section] if section == "sweep" or row.attack != found.attack]
        sections[section] = [*others, found]


def _header(
    experiment: Experiment, data: ImageData, subject: TrainedNetwork | ForeignNetwork, images: ImageSet
) -> dict[str, Any]:
    return {
        "settings": settings_of(experiment),
        "network": subject.description.model_dump(mode="json"),
        "cost": subject.description.cost(),
        "environment": environment(),
        "classes": classes_of(data, images),
    }


def classes_of(data: ImageData, images: ImageSet) -> dict[str, list[Any]]:
    """Names of the classes, and the images of each, as plain JSON values."""
    return {"names": list(data.class_names), "images": count_by_class(images.labels, data.num_classes).tolist()}


def _stored(sections: Sections, num_classes: int) -> dict[str, Any]:
    """The accuracies as plain JSON values, and the verdict once all that it needs is measured."""
    sweep = sorted(sections["sweep"], key=lambda row: (row.attack, float(row.settings["eps"])))
    ordered = sections | {"sweep": sweep}
    verdict = verdict_of(sections["check_rows"], num_classes)
    return {
        "checks": None if verdict is None else asdict(verdict),
        **{section: [asdict(row) for row in rows] for section, rows in ordered.items()},
    }


def verdict_of(rows: list[Accuracy], num_classes: int) -> Verdict | None:
    """Whether to believe the robustness; None where the checks were not asked for, or have not come to their end."""
    by_name = {row.attack: row for row in rows}
    return judge(by_name, num_classes) if by_name.keys() >= NEEDED else None


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """What robustness.json says of the settings."""
    settings = plain({"seed": experiment.seed, "data": experiment.data, "evaluate": experiment.evaluate})
    for key in HOW_IMAGES_ARE_READ:
        del settings["data"][key]
    return settings | {"precision": experiment.fabric.precision}


def _known(path: Path, experiment: Experiment, subject: TrainedNetwork | ForeignNetwork) -> Sections:
    """What was measured before on the same network and images with the same settings."""
    if not path.exists():
        return _sections(path, {})
    content = read_json(path)
    if not isinstance(content, dict) or not {"settings", "network", "attacks"} <= set(content):
        raise RunError(f"{path} is not what evaluate.py writes; remove it or choose another run=")
    same = _comparable(content["settings"]) == _comparable(settings_of(experiment))
    if not same or content["network"] != subject.description.model_dump(mode="json"):
        return _sections(path, {})
    return _sections(path, content)


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings on which all rows depend; those that an older file has not are filled in. None: not such settings."""
    try:
        filled = EvaluateSettings.model_validate(settings["evaluate"]).model_dump(
            mode="json", exclude={*WHAT_IS_TRIED, *WHOSE}
        )
    except (ValidationError, KeyError):
        return None
    return dict(json.loads(json.dumps({**settings, "evaluate": filled})))


def read_sections(folder: Path) -> tuple[Sections, str | None]:
    """All accuracies of a run's robustness.json, and the verdict in words. Raises RunError when there are none."""
    path = folder / FILE
    content = read_json(path)
    if not isinstance(content, dict) or "attacks" not in content:
        raise RunError(f"{path} is not what evaluate.py writes: it has no attacks")
    checks = content.get("checks")
    if checks is not None and not (isinstance(checks, dict) and "verdict" in checks):
        raise RunError(f"{path} is not what evaluate.py writes: its checks have no verdict")
    return _sections(path, content), None if checks is None else str(checks["verdict"])


def read_accuracies(folder: Path) -> list[Accuracy]:
    """Clean and attacked, from a run's robustness.json. Raises RunError when there are none."""
    return read_sections(folder)[0]["attacks"]


def _sections(path: Path, content: Mapping[str, Any]) -> Sections:
    try:
        return {section: [Accuracy.of(row) for row in content.get(section) or ()] for section in SECTIONS}
    except (TypeError, ValueError) as error:
        raise RunError(f"{path} is not what evaluate.py writes: {error}") from None


def retrain_and_evaluate(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, *, name: str, genotype: Genotype
) -> tuple[list[Accuracy], dict[str, int]]:
    """Both stages in a run folder, or what they left there: the accuracies, and the network's cost."""
    retrain(folder, experiment, data, fabric, name=name, genotype=genotype)
    trained = load_network(folder)
    return evaluate(folder, experiment, data, fabric, trained), trained.description.cost()


def check_retrain_and_evaluate(experiment: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype) -> None:
    """Raise ValueError for what either stage would refuse, before those that come first have done their work."""
    tested(data, experiment.evaluate.images)
    planned(Probed(Retraining(experiment, data, fabric, genotype).network), experiment, data, fabric)


def tested(data: ImageData, limit: int | None) -> ImageSet:
    """The test images, or a balanced subset. Raises RunError when there are not so many."""
    if limit is None:
        return data.test
    if limit > len(data.test):
        raise RunError(f"evaluate.images={limit} asks for more than the {len(data.test)} test images there are")
    return data.test.take(torch.from_numpy(balanced_indices(data.test.labels.numpy(), limit)))
