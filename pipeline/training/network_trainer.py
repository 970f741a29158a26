"""One retraining: network, optimizer and images, and its steps and judgements by the recipe of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain, count, islice, repeat
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from attacks import CheckedAttack
from pipeline.compute.processes import (
    mean_over_processes,
    of_all_processes,
    random_state,
    restore_random_state,
    share_of,
    sum_over_processes,
    synchronise,
)
from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import ImageData, augmentation, split
from pipeline.evaluation.accuracy import classified_right
from pipeline.settings import Experiment
from pipeline.training.optimizers import make_weight_optimizer, rate_of_epoch, set_learning_rate
from pipeline.training.recipes import (
    RECIPES,
    FreePerturbation,
    Judged,
    Outputs,
    WeightAverage,
    best,
    has_overfitted,
    is_out_of_patience,
    moved,
    unchanged_statistics,
    worst_change,
)
from pipeline.training.steps import at_least_float32, attack_on, clipped_step
from search_space import Genotype, Network, NetworkShape, channels_for_parameters
from search_space.kernels.statistics import own_statistics

STAGE = "retrain"


class Retraining:
    """What one retraining holds from step to step.

    judged_network: the one that is judged and kept; the network itself, or the mean of its weights.
    judged: the judgements so far.  best_weights: those of the best one.
    steps_of_epoch: those of the present epoch that are done.
    """

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype) -> None:
        settings = experiment.retrain
        self.experiment = experiment
        self.fabric = fabric
        self.augment = augmentation(experiment.data, data.image_size)
        part_seed = stream_seed(experiment.seed, "held back")
        train, held_back = split(data.train, settings.held_back, part_seed, key="retrain.held_back")
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
        synchronise(fabric, experiment.fabric, self.network)
        fabric.to_device(self.network)
        # depthwise convolutions are faster in it
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights = list(self.network.parameters())
        self.optimizer = make_weight_optimizer(self.weights, experiment.weight_optimizer)
        self.epoch, self.steps_of_epoch = 0, 0
        self._randomness: dict[str, Tensor] = {}
        self.seconds = 0.0
        self.judged: list[Judged] = []
        self.best_weights: dict[str, Tensor] = {}
        self._prepare_recipe()

    def _prepare_recipe(self) -> None:
        """The loss, the attacks of training and of judging, and what a recipe keeps from step to step."""
        settings = self.experiment.retrain
        self.recipe = RECIPES[settings.recipe]
        self.beta = self.recipe.beta if settings.beta is None else settings.beta
        self.average = WeightAverage(self.network, settings.average_decay) if settings.average_decay else None
        self.judged_network = self.average.network if self.average else self.network
        self.attack: CheckedAttack | None = None
        self.free: FreePerturbation | None = None
        self.judging_attack: CheckedAttack | None = None
        self.compared_attack: CheckedAttack | None = None
        name = self.recipe.attack_name(settings.attack.name)
        if name is None:
            return
        if self.recipe.attack == "free":
            batch = (settings.batch_size // self.fabric.world_size, *self.train.shape)
            self.free = FreePerturbation(batch, settings.attack.eps, self.fabric.device)
        else:
            self.attack = attack_on(self.network, settings.attack, name)
        self.judging_attack = attack_on(self.judged_network, settings.attack, "pgd")
        if settings.check_overfitting:
            self.compared_attack = attack_on(self.judged_network, settings.attack, name)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or patience is."""
        settings = self.experiment.retrain
        return self.epoch >= settings.epochs or is_out_of_patience(self.judged, settings.patience)

    @property
    def steps(self) -> int:
        """Steps done."""
        return self.epoch * self.steps_per_epoch + self.steps_of_epoch

    @property
    def can_stop(self) -> bool:
        """Whether the next step has a batch of its own: a replayed one is not drawn again."""
        return self.steps_of_epoch % self._replays == 0 or self.steps_of_epoch == self.steps_per_epoch

    @property
    def _replays(self) -> int:
        return self.experiment.retrain.replays if self.free else 1

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
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
        """Augmented images and labels of each step of the present epoch, but for those that are done.

        Free training takes the same batch `replays` times, the last one of an epoch as often as there are steps left;
        the next epoch goes on in the order of the images where this one ends, so that each has its turn.
        """
        distinct, done = -(-self.steps_per_epoch // self._replays), self.steps_of_epoch // self._replays
        turn, first = divmod(self.epoch * distinct, self.steps_per_epoch)
        chosen = islice(chain.from_iterable(map(self._indices, count(turn))), first + done, first + distinct)
        if self._randomness:
            restore_random_state(self.fabric, self._randomness)
            self._randomness = {}
        return islice(self._replayed(chosen), self.steps_per_epoch - self.steps_of_epoch)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """One step on a batch, by the loss of the recipe on images that its attack changes first."""
        set_learning_rate(self.optimizer, self.learning_rate)
        attacked = self._attacked(images, labels)
        leaves = [*self.weights, *([self.free.value] if self.free else [])]
        with self._weights_of_step(images, attacked.detach(), labels):
            loss, accuracy = self._loss(images, attacked, labels)
            slopes = _slopes(loss, leaves)
        if self.free:
            self.free.ascend(slopes.pop())
        *slopes, figures = mean_over_processes(self.fabric, [*slopes, torch.stack([loss.detach(), accuracy])])
        clip = self.experiment.weight_optimizer.clip
        norm = clipped_step(self.optimizer, self.weights, slopes, clip, loss=figures[0])
        if self.average:
            self.average.update(self.network)
        loss_value, accuracy_value = figures.tolist()
        return {"training_loss": loss_value, "training_accuracy": accuracy_value, "gradient_norm": norm}

    def end_epoch(self) -> dict[str, Any]:
        """Judge where it is due, and keep the best weights; returns what the epoch's last row says of it."""
        settings = self.experiment.retrain
        self._share_statistics()
        if (self.epoch + 1) % settings.select_every and self.epoch + 1 < settings.epochs:
            return {}
        found = self._judge()
        self.judged.append(found)
        if best(self.judged) is found:
            state = self.judged_network.state_dict()
            self.best_weights = {name: tensor.detach().clone() for name, tensor in state.items()}
        row = {"held_back_accuracy": found.accuracy, "held_back_clean_accuracy": found.clean}
        if found.trained is None:
            return row
        return row | {
            "held_back_trained_accuracy": found.trained,
            "catastrophic_overfitting": has_overfitted(self.judged),
        }

    def state(self, settings: dict[str, Any]) -> dict[str, Any]:
        """All that `restore` needs to go on as if nothing had happened; called in all processes."""
        return {
            "settings": settings,
            "epoch": self.epoch,
            "steps_of_epoch": self.steps_of_epoch,
            "middle": self._middle() if self.steps_of_epoch else {},
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "judged": [asdict(each) for each in self.judged],
            "best_weights": self.best_weights,
            "average": self.average.state() if self.average else None,
            "perturbation": of_all_processes(self.fabric, [self.free.value.detach()])[0] if self.free else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.judged = [Judged(**each) for each in state["judged"]]
        self.best_weights = state["best_weights"]
        if self.average:
            self.average.restore(state["average"])
        if self.free:
            self.free.restore(state["perturbation"].chunk(self.fabric.world_size)[self.fabric.global_rank])
        self.steps_of_epoch = state["steps_of_epoch"]
        if self.steps_of_epoch:
            self._go_back_to(state["middle"])

    def _middle(self) -> dict[str, Any]:
        """What the processes do not have in common between the ends of two epochs, joined over them."""
        statistics = of_all_processes(self.fabric, [buffer[None] for buffer in self._statistics()])
        return {"randomness": random_state(self.fabric), "statistics": statistics}

    @torch.no_grad()
    def _go_back_to(self, middle: dict[str, Any]) -> None:
        self._randomness = middle["randomness"]
        for buffer, values in zip(self._statistics(), middle["statistics"], strict=True):
            buffer.copy_(values[self.fabric.global_rank])

    def _statistics(self) -> list[Tensor]:
        """BatchNorm's of the network, and of the mean of its weights."""
        networks = [self.network, *([self.average.network] if self.average else [])]
        return [buffer for network in networks for buffer in network.buffers() if buffer.is_floating_point()]

    def _indices(self, turn: int) -> Iterator[Tensor]:
        """Which images each batch of one turn through all of them holds."""
        seed = stream_seed(self.experiment.seed, STAGE, "order", turn)
        share = share_of(self.fabric)
        return self.train.shuffled_indices(self.experiment.retrain.batch_size, seed, share)

    def _replayed(self, chosen: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        for _, images, labels in self.train.read(chosen):
            batch = self.augment(images), labels
            yield from repeat(batch, self._replays)

    def _attacked(self, images: Tensor, labels: Tensor) -> Tensor:
        """The images as the attack of training leaves them."""
        if self.free:
            return self.free.on(images)
        if self.attack is None:
            return images
        with self.fabric.autocast():
            return self.attack(images, labels)

    def _loss(self, images: Tensor, attacked: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The recipe's loss with that of the auxiliary head, and the accuracy on the images that it learns."""
        loss, outputs = self.recipe.loss(self._forward, images, attacked, labels, self.beta)
        if outputs.auxiliary is not None:
            loss = loss + self.experiment.retrain.auxiliary_weight * F.cross_entropy(outputs.auxiliary, labels)
        return loss, (outputs.logits.argmax(dim=1) == labels).float().mean()

    def _forward(self, images: Tensor) -> Outputs:
        with self.fabric.autocast():
            if self.network.auxiliary_head is None:
                return Outputs(at_least_float32(self.network(images)))
            logits, auxiliary = self.network.forward_with_auxiliary(images)
            return Outputs(at_least_float32(logits), at_least_float32(auxiliary))

    @contextmanager
    def _weights_of_step(self, images: Tensor, attacked: Tensor, labels: Tensor) -> Iterator[None]:
        """The weights at which the step takes its gradient: worse ones nearby, with AWP."""
        settings = self.experiment.retrain
        if settings.awp_gamma == 0 or self.epoch < settings.awp_warmup:
            yield
            return
        with unchanged_statistics(self.network):
            slopes = _slopes(self._loss(images, attacked, labels)[0], self.weights)
        changes = worst_change(self.weights, mean_over_processes(self.fabric, slopes), settings.awp_gamma)
        with moved(self.weights, changes):
            yield

    @torch.no_grad()
    def _share_statistics(self) -> None:
        """Give every process the mean of all processes' BatchNorm statistics: one network is judged and stored."""
        statistics = self._statistics()
        for buffer, mean in zip(statistics, mean_over_processes(self.fabric, statistics), strict=True):
            buffer.copy_(mean)

    def _judge(self) -> Judged:
        """Accuracies on the held-back images."""
        clean = self._accuracy(None)
        return Judged(
            epoch=self.epoch + 1,
            accuracy=clean if self.judging_attack is None else self._accuracy(self.judging_attack),
            clean=clean,
            trained=None if self.compared_attack is None else self._accuracy(self.compared_attack),
        )

    def _accuracy(self, attack: CheckedAttack | None) -> float:
        """Of all held-back images, which the processes share; the same in each of them, and with any number of them."""
        network, right = self.judged_network.eval(), torch.zeros((), dtype=torch.int64)
        batches = self.held_back.shared_batches(self.experiment.retrain.batch_size, share_of(self.fabric))
        with own_statistics(network):  # shares differ in their number of batches
            for batch, images, labels in batches:
                seed_stream(self.experiment.seed, STAGE, "judge", self.epoch, batch)
                with self.fabric.autocast():
                    inputs = images if attack is None else attack(images, labels)
                    right += classified_right(network, inputs, labels).sum().cpu()
        network.train()
        return int(sum_over_processes(self.fabric, right)) / len(self.held_back)


def _slopes(loss: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    # zeros where a cell leaves an operation's output to none or noise
    return list(torch.autograd.grad(loss, leaves, materialize_grads=True))


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
