"""Retraining: a derived or published cell becomes a network that is trained from scratch, by default under attack."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from pipeline.compute.environment import environment
from pipeline.compute.stop_requests import StopRequest, stop_requests
from pipeline.data import ImageData
from pipeline.evaluation.evaluate import check_number_of_images
from pipeline.networks.description import NetworkDescription, genotype_to_plain
from pipeline.networks.network_files import load_network, save_network
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.metrics import MetricLog
from pipeline.runs.progress import Bar, progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings, what_training_depends_on
from pipeline.runs.settings_record import keep_settings
from pipeline.settings import Experiment
from pipeline.training.network_trainer import Retraining
from pipeline.training.optimizers import advising
from pipeline.training.recipes import best, first_overfitted
from pipeline.training.steps import naming
from pipeline.training.training_images import STAGE
from search_space import Genotype


def retrain(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, *, name: str, genotype: Genotype
) -> NetworkDescription:
    """Train the genotype's network and write network.safetensors, network.json and metrics.jsonl.

    The checkpoint with the best accuracy on a held-back part of the training set is kept, under PGD unless the recipe
    is standard; ties go to the later one. A finished run is returned as it is, an unfinished one resumes after its last
    checkpoint: there is one after each epoch, and one where a signal asked to stop, which raises Interrupted. Raises
    ValueError before any work when the settings do not fit the data or the run in the folder.
    """
    check_number_of_images(data, experiment.evaluate.images)
    settings = retrain_settings(experiment, genotype)
    training = Retraining(experiment, data, fabric, genotype)
    with exclusive(folder, STAGE, take=fabric.is_global_zero):
        finished = _finished(folder, settings)
        if finished is not None:
            return finished
        _train(training, folder, settings, experiment.retrain.epochs)
        description = _describe(training, data, name, settings)
        if fabric.is_global_zero:
            training.network.load_state_dict(training.judge.best_weights)
            description = save_network(folder, training.network, description)
        return description


def train_until(
    epochs: int, folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, *, genotype: Genotype
) -> int:
    """Train the first `epochs` epochs of what `retrain` goes on with; the number of their steps.

    The learning rate is that of the whole schedule. Epochs whose checkpoint is in the folder are not trained again.
    Raises as `retrain` does.
    """
    settings = retrain_settings(experiment, genotype)
    training = Retraining(experiment, data, fabric, genotype)
    with exclusive(folder, STAGE, take=fabric.is_global_zero):
        if _finished(folder, settings) is None:
            _train(training, folder, settings, epochs)
    return epochs * training.steps_per_epoch


def retrain_settings(experiment: Experiment, genotype: Genotype) -> dict[str, Any]:
    """All that a retrained network depends on."""
    settings = what_training_depends_on(experiment, "retrain")
    return settings | {"genotype": genotype_to_plain(genotype)}


def _finished(folder: Path, settings: dict[str, Any]) -> NetworkDescription | None:
    """What a finished run left in the folder, if there is one. Raises RunError for one with other settings."""
    if not (folder / "network.json").exists():
        return None
    description = load_network(folder).description
    check_same_settings(description.training["settings"], settings, folder)
    return description


def _train(training: Retraining, folder: Path, settings: dict[str, Any], epochs: int) -> None:
    """Go on from the last checkpoint in the folder, if there is one, to the end of `epochs` epochs."""
    fabric = training.fabric
    checkpoints = Checkpoints(folder, STAGE, fabric)
    checkpoints.resume(settings, training.restore)
    if fabric.is_global_zero:
        keep_settings(folder, STAGE, training.experiment)
    with (
        MetricLog(
            folder,
            STAGE,
            first_step=training.steps,
            write=fabric.is_global_zero,
            logger=training.experiment.logger,
        ) as log,
        progress_bar(STAGE, epochs * training.steps_per_epoch, done=training.steps, show=fabric.is_global_zero) as bar,
        stop_requests(fabric) as request,
        advising(training.training_step.optimizer),
    ):
        while training.epoch < epochs and not training.is_over:
            with training.timed():
                _run_epoch(training, log, bar, request)
            checkpoints.save(training.steps, training.state(settings))
            request.obey()


def _run_epoch(training: Retraining, log: MetricLog, bar: Bar, request: StopRequest) -> None:
    """The steps of the present epoch, or of its part before a request."""
    training.start_epoch()
    for images, labels in training.batches():
        step, epoch, batch = training.steps, training.epoch, training.steps_of_epoch + 1
        with naming(f"retraining step {step}, epoch {epoch}, batch {batch} of {training.steps_per_epoch}"):
            row: dict[str, Any] = dict(training.step(images, labels))
            row |= {"epoch": epoch, "learning_rate": training.learning_rate}
            row |= training.end_step()
        log.write(step, row)
        judged = training.judge.judged
        found = f" | held back: best {best(judged).accuracy:.1%}" if judged else ""
        bar.advance(f"epoch {epoch + 1} | loss {row['training_loss']:.3f}{found}")
        if request.is_made() and training.can_stop:
            return


def _describe(training: Retraining, data: ImageData, name: str, settings: dict[str, Any]) -> NetworkDescription:
    chosen, last = best(training.judge.judged), training.judge.judged[-1]
    return NetworkDescription(
        name=name,
        genotype=settings["genotype"],
        channels=training.channels,
        layers=training.experiment.retrain.layers,
        in_channels=data.in_channels,
        image_size=data.image_size,
        mean=tuple(training.mean),
        std=tuple(training.std),
        class_names=data.class_names,
        data=data.name,
        training={
            "settings": settings,
            "best_epoch": chosen.epoch,
            "held_back_accuracy": chosen.accuracy,
            "held_back": {"best": asdict(chosen), "last": asdict(last), "gap": chosen.accuracy - last.accuracy},
            "overfitted_in_epoch": first_overfitted(training.judge.judged),
            "seconds": round(training.seconds, 1),
            "environment": environment(),
        },
    )
