"""One retraining: images, network, training step and judge put together, and the schedule that they follow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from pipeline.compute.fabric import lay_out
from pipeline.compute.processes import random_state, restore_random_state, synchronise
from pipeline.compute.seeds import seed_stream
from pipeline.data import ImageData
from pipeline.settings import Experiment
from pipeline.training.held_back_judge import HeldBackJudge
from pipeline.training.learning_rate import rate_of_epoch
from pipeline.training.training_images import STAGE, TrainingImages
from pipeline.training.training_step import TrainingStep
from search_space import Genotype, Network, channels_for_parameters


class Retraining:
    """Puts a retraining together, and counts its epochs and steps.

    epoch: the present one, from 0.  steps_of_epoch: those of it that are done.  seconds: spent in epochs so far.
    """

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype) -> None:
        self.experiment, self.fabric = experiment, fabric
        self.images = TrainingImages(experiment, data, fabric)
        self.steps_per_epoch = self.images.steps_per_epoch
        self.channels = _channels(experiment, data, genotype)
        self.mean, self.std = data.statistics()
        self.network = self._make_network(data, genotype)
        self.training_step = TrainingStep(self.network, experiment, fabric, self.images.train.shape)
        self.judge = HeldBackJudge(self.training_step.kept_network, self.images.held_back, experiment, fabric)
        self.epoch, self.steps_of_epoch = 0, 0
        self.seconds = 0.0
        self._random_state: dict[str, Tensor] = {}  # of an epoch that was stopped in its middle, until it goes on

    def _make_network(self, data: ImageData, genotype: Genotype) -> Network:
        """Build the network, with initial values that all processes share."""
        network = initial_network(self.experiment, data, genotype, channels=self.channels)
        synchronise(self.fabric, self.experiment.fabric, network)
        self.fabric.to_device(network)
        lay_out(network, self.experiment.fabric)
        return network

    @property
    def is_over(self) -> bool:
        """Return whether all epochs are done, or patience is."""
        return self.epoch >= self.experiment.retrain.epochs or self.judge.is_out_of_patience

    @property
    def steps(self) -> int:
        """Return how many steps of the whole retraining are done."""
        return self.epoch * self.steps_per_epoch + self.steps_of_epoch

    @property
    def can_stop(self) -> bool:
        """Return whether the next step has a batch of its own: a replayed one is not drawn again."""
        return self.steps_of_epoch % self.training_step.replays == 0

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        settings, done = self.experiment.retrain, float(self.epoch)
        if settings.rate_interval == "step":
            done = self.steps / self.steps_per_epoch
        return rate_of_epoch(self.experiment.weight_optimizer, done, settings.epochs, settings.final_rate)

    def start_epoch(self) -> None:
        """Set what changes from epoch to epoch."""
        settings = self.experiment.retrain
        self.network.drop_path_probability = settings.drop_path * self.epoch / settings.epochs
        seed_stream(self.experiment.seed, STAGE, self.epoch, self.fabric.global_rank)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield augmented images and labels of each step of the present epoch, but for those that are done."""
        if self._random_state:
            restore_random_state(self.fabric, self._random_state)
            self._random_state = {}
        return self.images.batches(self.epoch, done=self.steps_of_epoch, replays=self.training_step.replays)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Train on a batch; return the figures of the step."""
        return self.training_step.step(images, labels, epoch=self.epoch, rate=self.learning_rate)

    def end_step(self) -> dict[str, Any]:
        """Count a step, after an epoch's last one judge and count that; return what its row says of the epoch."""
        if self.steps_of_epoch + 1 < self.steps_per_epoch:
            self.steps_of_epoch += 1
            return {}
        self.training_step.share_statistics()
        row = self.judge.end_epoch(self.epoch)
        self.epoch, self.steps_of_epoch = self.epoch + 1, 0
        return row

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time until the block's end to the seconds."""
        started = time.monotonic()
        yield
        self.seconds += time.monotonic() - started

    def state(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return all that `restore` needs to go on as if nothing had happened; called in all processes."""
        return {
            "settings": settings,
            "epoch": self.epoch,
            "steps_of_epoch": self.steps_of_epoch,
            "middle": self._middle() if self.steps_of_epoch else {},
            "seconds": self.seconds,
            **self.training_step.state(),
            **self.judge.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.training_step.restore(state)
        self.judge.restore(state)
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.steps_of_epoch = state["steps_of_epoch"]
        if self.steps_of_epoch:
            self._random_state = state["middle"]["randomness"]
            self.training_step.restore_statistics(state["middle"]["statistics"])

    def _middle(self) -> dict[str, Any]:
        """Return what the processes do not have in common between the ends of two epochs, joined over them."""
        return {"randomness": random_state(self.fabric), "statistics": self.training_step.statistics()}


def initial_network(experiment: Experiment, data: ImageData, genotype: Genotype, *, channels: int) -> Network:
    """Build the network of a cell, with the first weights that the experiment's seed draws."""
    settings = experiment.retrain
    mean, std = data.statistics()
    seed_stream(experiment.seed, STAGE, "weights")
    return Network(
        genotype,
        channels=channels,
        layers=settings.layers,
        num_classes=data.num_classes,
        in_channels=data.in_channels,
        auxiliary=settings.auxiliary_weight > 0,
        mean=mean,
        std=std,
    )


def _channels(experiment: Experiment, data: ImageData, genotype: Genotype) -> int:
    settings = experiment.retrain
    if settings.parameters is None:
        return settings.channels
    shape = data.network_shape(channels=settings.channels, layers=settings.layers)
    return channels_for_parameters(genotype, settings.parameters, shape=shape)
