"""Evaluation: accuracy of a network on test images, clean, attacked and corrupted, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.compute.environment import environment
from pipeline.data import ImageData, ImageSet, balanced_indices
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import Accuracy, count_by_class
from pipeline.evaluation.evaluation_plan import attack_on, planned
from pipeline.evaluation.examples import EXAMPLES_ATTACK as EXAMPLES_ATTACK
from pipeline.evaluation.examples import keep_examples
from pipeline.evaluation.gradient_masking import NEEDED, Verdict, masking_verdict
from pipeline.evaluation.measuring.adversarial_examples import keep_adversarial
from pipeline.evaluation.measuring.borrowed_starts import stored_perturbations, try_perturbations
from pipeline.evaluation.measuring.measure import EvaluationCase, Measurement, measure
from pipeline.evaluation.probing import probe
from pipeline.evaluation.stored_evaluation import (
    ROBUSTNESS_FILE,
    SECTIONS,
    STAGE,
    Classes,
    Evaluation,
    Protocol,
    place_of,
    read_before,
    read_robustness,
    write_robustness,
)
from pipeline.networks.description import TrainedNetwork
from pipeline.networks.network_files import check_fits
from pipeline.networks.user_module import ForeignNetwork
from pipeline.runs.loggers import log_hyperparameters
from pipeline.runs.progress import Bar, progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.settings import Experiment

EvaluationPlan = Mapping[str, Sequence[EvaluationCase]]
"""The cases that the settings ask for, by section."""

Subject = TrainedNetwork | ForeignNetwork
"""What is evaluated: the run's own network, or a module that a user brings."""

Sections = dict[str, list[Accuracy]]
"""The lists of accuracies of a protocol, by SECTIONS."""


def evaluate(folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, subject: Subject) -> list[Accuracy]:
    """Measure a network and write robustness.json; the accuracies under the attacks asked for are returned.

    An attack is tried on the images that the network classifies right; one that it leaves right counts as robust, so
    that robust accuracy is a part of all images. What robustness.json already holds of the same weights by the same
    settings is not measured again; the figures of other weights and settings stay there beside it. Processes share the
    batches, and find what one finds; the first writes. Raises RunError or ValueError before any work when network, data
    and attacks do not fit.
    """
    if isinstance(subject, TrainedNetwork):
        check_fits(subject, data)
    elif (folder / "network.json").exists():
        raise RunError(f"{folder} holds a network of its own; choose another run= for evaluate.model")
    network = fabric.to_device(subject.network)
    images = tested(data, experiment.evaluate.images).to(fabric.device)
    probed = probe(network, images, name=subject.description.name, settings=experiment.evaluate, fabric=fabric)
    plan = planned(probed, experiment, data, fabric)
    if experiment.evaluate.starts:
        plan = plan | {"attacks": [_with_starts(case, folder, experiment, network, images) for case in plan["attacks"]]}
    with exclusive(folder, STAGE, take=fabric.is_global_zero):
        evaluation = _measure_all(folder, experiment, data, fabric, subject, plan, images)
        if fabric.is_global_zero and probed.gradient != "none":
            attack = attack_on(probed, experiment, data.num_classes, EXAMPLES_ATTACK)
            size = experiment.evaluate.batch_size
            keep_examples(folder, network, images, attack, batch_size=size, measured=identity_of(evaluation))
    return [next(row for row in evaluation.attacks if row.attack == case.name) for case in plan["attacks"]]


def _measure_all(
    folder: Path,
    experiment: Experiment,
    data: ImageData,
    fabric: Fabric,
    subject: Subject,
    plan: EvaluationPlan,
    images: ImageSet,
) -> Evaluation:
    """Run what is not yet known, and store every accuracy as soon as it is there."""
    before = read_before(folder / ROBUSTNESS_FILE, read_robustness, replace=experiment.evaluate.replace, fabric=fabric)
    header = header_of(experiment, data, subject, images)
    alike = [each for each in before if is_continued_by(each, header)]
    continued = next((each for each in alike if _has_room_for(each, plan)), None)
    others = [each for each in before if each is not continued]
    if continued is not None:
        header["settings"] = continued.settings.joined(header["settings"])
    sections: Sections = {section: list(getattr(continued, section, ())) for section in SECTIONS}
    measured = {"state_sha256": subject.state_sha256, "settings": header["settings"].key}
    batches, is_new = -(-len(images) // experiment.evaluate.batch_size), False
    with progress_bar(STAGE, sum(map(len, plan.values())) * batches, show=fabric.is_global_zero) as bar:
        for section, case in ((section, case) for section, cases in plan.items() for case in cases):
            found = _look_up(
                [sections[section], *sections.values(), *([row for _, row in each.rows()] for each in alike)], case
            )
            if found is None:
                measurement = _measured(case, experiment, data, fabric, subject, images, bar)
                found, is_new = measurement.accuracy, True
                if fabric.is_global_zero and section == "attacks" and case.stages and case.draws == 1:
                    keep_adversarial(folder, measurement, measured)
            else:
                bar.advance(f"{case.name} done before", by=batches)
            if found not in sections[section]:
                sections[section].append(found)
            evaluation = _evaluation(header, sections, data.num_classes)
            if fabric.is_global_zero:
                write_robustness(folder / ROBUSTNESS_FILE, (evaluation, *others))
    if is_new and fabric.is_global_zero:  # what is read again was logged before
        log_hyperparameters(folder, experiment, {row.attack: row.accuracy for row in evaluation.attacks})
    return evaluation


def _measured(
    case: EvaluationCase,
    experiment: Experiment,
    data: ImageData,
    fabric: Fabric,
    subject: Subject,
    images: ImageSet,
    bar: Bar,
) -> Measurement:
    return measure(
        subject.network,
        images,
        case,
        num_classes=data.num_classes,
        batch_size=experiment.evaluate.batch_size,
        seed=experiment.seed,
        fabric=fabric,
        bar=bar,
    )


def _with_starts(
    case: EvaluationCase, folder: Path, experiment: Experiment, network: nn.Module, images: ImageSet
) -> EvaluationCase:
    """Let AutoAttack begin with what is stored of other attacks when its turn comes."""
    most, settings = experiment.evaluate.starts, experiment.evaluate
    if case.name != "autoattack" or case.draws > 1:
        return case

    def before(inputs: Tensor, labels: Tensor) -> Tensor:
        found = stored_perturbations(folder, images, Protocol.of(experiment).key, most)
        return try_perturbations(network, inputs, labels, found, eps=settings.eps, norm=settings.norm)

    return replace(case, settings=case.settings | {"starts": most}, before=before)


def _look_up(lists: Iterable[Iterable[Accuracy]], case: EvaluationCase) -> Accuracy | None:
    """Find the same case in any section, under the name that it has in this one."""
    for row in (row for rows in lists for row in rows):
        if row.settings == case.settings and (row.settings or row.attack == case.name):
            return replace(row, attack=case.name)
    return None


def header_of(experiment: Experiment, data: ImageData, subject: Subject, images: ImageSet) -> dict[str, Any]:
    """Make all of an evaluation but its rows."""
    return {
        "state_sha256": subject.state_sha256,
        "settings": Protocol.of(experiment),
        "network": subject.description,
        "cost": subject.description.cost(),
        "environment": environment(),
        "classes": classes_of(data, images),
    }


def is_continued_by(before: Evaluation, header: Mapping[str, Any]) -> bool:
    """Return whether its rows hold for the same weights, settings and images."""
    classes: Classes = header["classes"]
    return (
        before.is_of(header["network"], header["state_sha256"])
        and before.settings.key == header["settings"].key
        and before.classes in (None, classes)
        and before.attacks[0].images == sum(classes.images)
    )


def _has_room_for(before: Evaluation, plan: EvaluationPlan) -> bool:
    """Return whether no case would take the place of a row that differs from it, as of another surrogate or library."""
    asked = {
        place_of(section, case.name, case.settings): case.settings for section, cases in plan.items() for case in cases
    }
    return all(
        asked.get(place_of(section, row.attack, row.settings), row.settings) == row.settings
        for section, row in before.rows()
    )


def classes_of(data: ImageData, images: ImageSet) -> Classes:
    """Return names of the classes, and the images of each."""
    return Classes(names=data.class_names, images=tuple(count_by_class(images.labels, data.num_classes).tolist()))


def _evaluation(header: Mapping[str, Any], sections: Sections, num_classes: int) -> Evaluation:
    """Put the rows in order, with the verdict once all that it needs is measured."""
    sweep = sorted(sections["sweep"], key=lambda row: (row.attack, float(row.settings["eps"])))
    rows: dict[str, Any] = {section: tuple(found) for section, found in (sections | {"sweep": sweep}).items()}
    return Evaluation(**header, **rows, checks=verdict_of(sections["check_rows"], num_classes))


def identity_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return what attacked images are kept by: the weights, and the settings on which all figures depend."""
    return {"state_sha256": evaluation.state_sha256, "settings": evaluation.settings.key}


def verdict_of(rows: Sequence[Accuracy], num_classes: int) -> Verdict | None:
    """Whether to believe the robustness; None where the checks were not asked for, or have not come to their end."""
    by_name = {row.attack: row for row in rows}
    return masking_verdict(by_name, num_classes) if by_name.keys() >= NEEDED else None


def tested(data: ImageData, limit: int | None) -> ImageSet:
    """Return the test images, or a balanced subset. Raises RunError when there are not so many."""
    check_number_of_images(data, limit)
    if limit is None:
        return data.test
    return data.test.take(torch.from_numpy(balanced_indices(data.test.labels.numpy(), limit)))


def check_number_of_images(data: ImageData, limit: int | None) -> None:
    """Raise RunError when `evaluate.images` asks for more than there are."""
    if limit is not None and limit > len(data.test):
        raise RunError(
            f"evaluate.images={limit} asks for more than the {len(data.test)} test images there are; "
            "set evaluate.images=null for all of them"
        )
