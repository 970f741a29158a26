"""Retraining: a derived or published cell becomes a network that is trained from scratch, by default under attack."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from pipeline.artifacts import NetworkDescription, load_network, save_network
from pipeline.data import ImageData, augmentation, split
from pipeline.optimizers import cosine, make_weight_optimizer, set_learning_rate
from pipeline.progress import progress_bar
from pipeline.run import (
    Checkpoints,
    MetricLog,
    check_same_settings,
    exclusive,
    mean_over_processes,
    seed_stream,
    stream_seed,
    what_training_depends_on,
)
from pipeline.settings import Experiment
from pipeline.training import attack_on, clipped_step, naming
from search_space import Genotype, Network, NetworkShape, channels_for_parameters

STAGE = "retrain"


def retrain(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, *, name: str, genotype: Genotype
) -> NetworkDescription:
    """Train the genotype's network and write network.safetensors, network.json and metrics.jsonl.

    The checkpoint with the best accuracy on a held-back part of the training set is kept, under attack when training is
    adversarial; ties go to the later one. A finished run is returned as it is, an unfinished one resumes after its last
    whole epoch. Raises ValueError before any work when the settings do not fit the data or the run in the folder.
    """
    settings = retrain_settings(experiment, genotype)
    training = Retraining(experiment, data, fabric, genotype)
    with exclusive(folder, STAGE, take=fabric.is_global_zero):
        if (folder / "network.json").exists():
            description = load_network(folder).description
            check_same_settings(description.training["settings"], settings, folder)
            return description
        checkpoints = Checkpoints(folder, STAGE, fabric)
        state = checkpoints.load()
        if state is not None:
            check_same_settings(state["settings"], settings, folder)
            training.restore(state)
        _train(training, folder, settings, checkpoints)
        description = _describe(training, data, name, settings)
        if fabric.is_global_zero:
            training.network.load_state_dict(training.best_weights)
            save_network(folder, training.network, description)
        return description


def retrain_settings(experiment: Experiment, genotype: Genotype) -> dict[str, Any]:
    """All that a retrained network depends on."""
    settings = what_training_depends_on(experiment, "retrain")
    return settings | {"genotype": json.loads(genotype.to_json())}


class Retraining:
    """Network, optimizer and images of one retraining."""

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype) -> None:
        settings = experiment.retrain
        self.experiment = experiment
        self.fabric = fabric
        self.augment = augmentation(experiment.data, data.image_size)
        train, held_back = split(data.train, settings.held_back, stream_seed(experiment.seed, "held back"))
        self.train, self.held_back = train.to(fabric.device), held_back.to(fabric.device)
        self.steps_per_epoch = len(train) // settings.batch_size
        if not self.steps_per_epoch:
            raise ValueError(
                f"retrain.batch_size={settings.batch_size} is larger than the {len(train)} training images"
            )
        self.channels = _channels(experiment, data, genotype)
        seed_stream(experiment.seed, STAGE, "weights")
        self.mean, self.std = data.statistics()
        self.network = Network(
            genotype,
            channels=self.channels,
            layers=settings.layers,
            num_classes=data.num_classes,
            in_channels=data.in_channels,
            auxiliary=settings.auxiliary_weight > 0,
            mean=self.mean,
            std=self.std,
        )
        fabric.to_device(self.network)
        # depthwise convolutions are faster in it
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights = list(self.network.parameters())
        self.optimizer = make_weight_optimizer(self.weights, experiment.weight_optimizer)
        self.attack = attack_on(self.network, settings.attack)
        self.epoch = 0
        self.seconds = 0.0
        self.best_accuracy = -1.0
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}

    def step(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """One step on a batch, attacked first when training is adversarial."""
        inputs = self.attacked(images, labels) if self.experiment.retrain.adversarial else images
        loss, accuracy = self._loss(inputs, labels)
        slopes = mean_over_processes(self.fabric, self._slopes(loss))
        norm = clipped_step(self.optimizer, self.weights, slopes, self.experiment.weight_optimizer.clip)
        figures = torch.stack([loss.detach(), accuracy])
        loss_value, accuracy_value = mean_over_processes(self.fabric, [figures])[0].tolist()
        return {"training_loss": loss_value, "training_accuracy": accuracy_value, "gradient_norm": norm}

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Give every process the mean of all processes' BatchNorm statistics: one network is judged and stored."""
        statistics = [buffer for buffer in self.network.buffers() if buffer.is_floating_point()]
        for buffer, mean in zip(statistics, mean_over_processes(self.fabric, statistics), strict=True):
            buffer.copy_(mean)

    def judge(self) -> float:
        """Accuracy on the held-back images, under the training attack when training is adversarial."""
        seed_stream(self.experiment.seed, STAGE, "judge", self.epoch)
        self.network.eval()
        right = 0
        for images, labels in self.held_back.batches(self.experiment.retrain.batch_size):
            inputs = self.attacked(images, labels) if self.experiment.retrain.adversarial else images
            with torch.no_grad(), self.fabric.autocast():
                right += int((self.network(inputs).argmax(dim=1) == labels).sum())
        self.network.train()
        return right / len(self.held_back)

    def keep_if_best(self, accuracy: float) -> None:
        """Remember the present weights when no earlier ones were better on the held-back images."""
        if accuracy >= self.best_accuracy:
            self.best_accuracy, self.best_epoch = accuracy, self.epoch + 1
            self.best_weights = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def attacked(self, images: Tensor, labels: Tensor) -> Tensor:
        """The images as the training attack leaves them."""
        with self.fabric.autocast():
            return self.attack(images, labels)

    def state(self, settings: dict[str, Any]) -> dict[str, Any]:
        """All that `restore` needs to go on as if nothing had happened."""
        return {
            "settings": settings,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_accuracy": self.best_accuracy,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.best_accuracy, self.best_epoch = state["best_accuracy"], state["best_epoch"]
        self.best_weights = state["best_weights"]

    def _slopes(self, loss: Tensor) -> tuple[Tensor, ...]:
        # zeros where a cell leaves an operation's output to none or noise
        return torch.autograd.grad(loss, self.weights, materialize_grads=True)

    def _loss(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.experiment.retrain.auxiliary_weight
        with self.fabric.autocast():
            if weight == 0:
                logits = self.network(inputs).float()
                loss = F.cross_entropy(logits, labels)
            else:
                logits, auxiliary = (output.float() for output in self.network.forward_with_auxiliary(inputs))
                loss = F.cross_entropy(logits, labels) + weight * F.cross_entropy(auxiliary, labels)
        return loss, (logits.argmax(dim=1) == labels).float().mean()


def _channels(experiment: Experiment, data: ImageData, genotype: Genotype) -> int:
    settings = experiment.retrain
    if settings.parameters is None:
        return settings.channels
    shape = NetworkShape(
        layers=settings.layers,
        num_classes=data.num_classes,
        image_size=data.image_size,
        in_channels=data.in_channels,
    )
    return channels_for_parameters(genotype, settings.parameters, shape=shape)


def _train(training: Retraining, folder: Path, settings: dict[str, Any], checkpoints: Checkpoints) -> None:
    recipe, fabric, seed = training.experiment.retrain, training.fabric, training.experiment.seed
    share = (fabric.global_rank, fabric.world_size)
    first_step, total = training.epoch * training.steps_per_epoch, recipe.epochs * training.steps_per_epoch
    with (
        MetricLog(folder, STAGE, first_step=first_step, write=fabric.is_global_zero) as log,
        progress_bar("retrain", total, done=first_step, show=fabric.is_global_zero) as bar,
    ):
        while training.epoch < recipe.epochs:
            started = time.monotonic()
            first = training.experiment.weight_optimizer.learning_rate
            rate = cosine(training.epoch, recipe.epochs, first, first * recipe.final_rate)
            set_learning_rate(training.optimizer, rate)
            training.network.drop_path_probability = recipe.drop_path * training.epoch / recipe.epochs
            seed_stream(seed, STAGE, training.epoch, fabric.global_rank)
            batches = training.train.shuffled_batches(
                recipe.batch_size, stream_seed(seed, STAGE, "order", training.epoch), share
            )
            for index, (images, labels) in enumerate(batches):
                step = training.epoch * training.steps_per_epoch + index
                row: dict[str, Any] = {}
                with naming(f"retraining step {step}, epoch {training.epoch}"):
                    row |= training.step(training.augment(images), labels)
                row |= {"epoch": training.epoch, "learning_rate": rate}
                last = index == training.steps_per_epoch - 1
                if last:
                    training.share_statistics()
                if last and ((training.epoch + 1) % recipe.select_every == 0 or training.epoch + 1 == recipe.epochs):
                    row["held_back_accuracy"] = training.judge()
                    training.keep_if_best(row["held_back_accuracy"])
                log.write(step, row)
                bar.advance(f"loss {row['training_loss']:.3f} | held back: best {max(training.best_accuracy, 0):.1%}")
            training.epoch += 1
            training.seconds += time.monotonic() - started
            checkpoints.save(training.epoch, training.state(settings))


def _describe(training: Retraining, data: ImageData, name: str, settings: dict[str, Any]) -> NetworkDescription:
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
            "best_epoch": training.best_epoch,
            "held_back_accuracy": training.best_accuracy,
            "seconds": round(training.seconds, 1),
        },
    )
