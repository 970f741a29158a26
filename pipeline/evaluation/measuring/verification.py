"""Verification: the figures of robustness.json, checked by the adversarial examples behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.data import ImageData, ImageSet
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN, Accuracy, classified_right
from pipeline.evaluation.evaluate import Subject, header_of, identity_of, is_continued_by, tested
from pipeline.evaluation.measuring.adversarial_examples import Certificate, check_adversarial
from pipeline.evaluation.stored_evaluation import ROBUSTNESS_FILE, read_robustness
from pipeline.settings import Experiment
from search_space import fixed_weights


def verify(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, subject: Subject
) -> Sequence[Certificate]:
    """Check each attack's figure of the protocol that the settings name, and write nothing.

    A figure holds when each image that counts as fooled has an example that is stored, lies in the ball, and is
    classified wrong now. Raises RunError where robustness.json has no figures of these weights by these settings.
    """
    images = tested(data, experiment.evaluate.images).to(fabric.device)
    header = header_of(experiment, data, subject, images)
    found = [each for each in read_robustness(folder / ROBUSTNESS_FILE) if is_continued_by(each, header)]
    if not found:
        raise RunError(
            f"evaluate.verify: {folder / ROBUSTNESS_FILE} has no figures of these weights by these settings; "
            "leave evaluate.verify out to measure them"
        )
    network = fabric.to_device(subject.network)
    with fabric.autocast(), fixed_weights(network):
        right = _right_before(network, images, experiment.evaluate.batch_size)
        return [
            _clean(row, right)
            if row.attack == CLEAN
            else check_adversarial(
                folder,
                row,
                network,
                images,
                right,
                measured=identity_of(found[0]),
                batch_size=experiment.evaluate.batch_size,
            )
            for row in found[0].attacks
            if row.draws == 1
        ]


def _clean(row: Accuracy, right: Tensor) -> Certificate:
    now = int(right.sum())
    faults = () if now == row.right else (f"{now} images are right, where the figure says {row.right}",)
    return Certificate(row.attack, row.right, row.images, None, faults)


def _right_before(network: nn.Module, images: ImageSet, size: int) -> Tensor:
    found = [classified_right(network, inputs, labels).cpu() for inputs, labels in images.batches(size)]
    return torch.cat(found)
