"""A search that goes on from a trained supernet under other objectives, and cells that are judged in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import Batch, ImageData, ImageSet, split
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN, Accuracy, classified_right, wilson_interval
from pipeline.search.bilevel import BilevelSearch
from pipeline.settings import Experiment
from pipeline.training.optimizers import make_weight_optimizer, rate_of_epoch, set_learning_rate
from pipeline.training.steps import attack_on, naming
from search_space import Genotype, SearchSpace, Supernet, inherit
from search_space.supernet.relaxation import Moment, Relaxation

STAGE = "pareto"


@dataclass(frozen=True, kw_only=True)
class FixedWeights(Relaxation):
    """The alphas are themselves the weights of the mixture."""

    def weights(self, space: SearchSpace, alphas: Tensor, moment: Moment) -> Tensor:
        """The alphas."""
        return alphas


def fix_cell(supernet: Supernet, one_hot: Tensor) -> None:
    """Let a supernet run one cell: probabilities [cells, edges, operations] in the place of its alphas."""
    device = supernet.alphas.device
    supernet.alphas = nn.Parameter(one_hot.float().to(device), requires_grad=False)
    supernet.relaxation = FixedWeights()


def alone(experiment: Experiment) -> Experiment:
    """The experiment without an attack that goes on from that of the epoch before: a point has no epoch before."""
    return experiment.model_copy(update={"attack": experiment.attack.model_copy(update={"carry_over": False})})


class Walk(BilevelSearch):
    """A search that goes on from the end of another, under other objectives, with images kept back to be judged on.

    Random numbers are those of the epochs that follow the search, the same at every point.
    """

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
        super().__init__(experiment, data, fabric)
        settings = experiment.pareto
        part_seed = stream_seed(experiment.seed, STAGE, "held back")
        parts, size = self.images.parts, experiment.search.batch_size
        parts["alphas"], self.held_back = split(parts["alphas"], settings.held_back, part_seed, key="pareto.held_back")
        if len(parts["alphas"]) < size:
            raise RunError(
                f"search.batch_size={size} is larger than the {len(parts['alphas'])} images that "
                f"pareto.held_back={settings.held_back} leaves for the alphas"
            )

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Take over a search's supernet; Adam forgets averages that are those of other objectives."""
        self.restore(state)
        self.history = []
        self.alpha_optimizer.state.clear()
        if self.experiment.pareto.alpha_learning_rate is not None:
            set_learning_rate(self.alpha_optimizer, self.experiment.pareto.alpha_learning_rate)

    def epochs(self) -> Iterator[dict[str, Any]]:
        """Train the alphas, and the weights where the settings say so; the row of each step."""
        for epoch in range(self.experiment.pareto.epochs):
            seed_stream(self.experiment.seed, STAGE, epoch)
            for train, valid in self.batches():
                with naming(f"epoch {epoch} of the walk"):
                    row = self.step(train, valid)
                yield {"epoch": epoch, **row}
            self.epoch += 1

    def step(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """As a search's step, with the weights as they are unless they are trained."""
        if self.experiment.pareto.weights == "trained":
            return super().step(train, valid)
        self.supernet.moment = self._moment()
        return self.architecture_step(train, valid)

    def adapt(self, genotype: Genotype) -> Iterator[float]:
        """Leave one cell of the supernet, and train its weights alone; the loss of each step."""
        self._leave(genotype)
        optimizer, epochs = self.experiment.weight_optimizer, self.experiment.pareto.adapt_epochs
        self.weight_optimizer = make_weight_optimizer(self.weights, optimizer)
        for epoch in range(epochs):
            seed_stream(self.experiment.seed, STAGE, "adapt", epoch)
            rate = rate_of_epoch(optimizer, epoch, epochs, self.experiment.search.final_rate)
            set_learning_rate(self.weight_optimizer, rate)
            for train, _ in self.batches():
                with naming(f"adapting epoch {epoch}"):
                    yield self.weight_step(train)["training_loss"]
            self.epoch += 1

    def _leave(self, genotype: Genotype) -> None:
        if self.supernet.partial_channels > 1:  # where no network is the same function
            fix_cell(self.supernet, self.table.space.one_hot(genotype))
            return
        self.network = inherit(self.supernet, genotype)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights = list(self.network.parameters())
        self.attack = attack_on(self.network, self.experiment.attack)

    def judge(self) -> tuple[Accuracy, Accuracy]:
        """Accuracy of the present network on the images held back, clean and under the judging attack."""
        attack = attack_on(self.network, self.experiment.pareto.attack)
        seed_stream(self.experiment.seed, STAGE, "judge")
        started, clean, robust = time.monotonic(), 0, 0
        for inputs, labels in _even_batches(self.held_back, self.experiment.search.batch_size):
            with self.fabric.autocast():
                right = classified_right(self.network, inputs, labels)
                clean += int(right.sum())
                # all are attacked: BatchNorm in a supernet sees the whole batch
                robust += int((right & classified_right(self.network, attack(inputs, labels), labels)).sum())
        seconds, images = round(time.monotonic() - started, 2), len(self.held_back)
        name = f"{attack.settings['name']}-{self.experiment.pareto.attack.steps}"
        return (
            Accuracy(CLEAN, {}, clean, images, clean / images, *wilson_interval(clean, images), seconds),
            Accuracy(name, attack.settings, robust, images, robust / images, *wilson_interval(robust, images), seconds),
        )

    def _progress(self) -> float:
        return 1.0  # the search's schedules have come to their end


def _even_batches(images: ImageSet, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in batches of about `size`, none of them small: their statistics are what BatchNorm uses."""
    parts = max(1, len(images) // size)
    for _, inputs, labels in images.read(torch.arange(len(images)).tensor_split(parts)):
        yield inputs, labels
