"""A search that goes on from a trained supernet under other objectives, and cells that are judged in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.compute.fabric import lay_out
from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import ImageData, ImageSet
from pipeline.evaluation.accuracy import CLEAN, Accuracy, classified_right, wilson_interval
from pipeline.search.bilevel import WeightStep, bilevel_step
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.search.supernet_losses import on_batches
from pipeline.settings import Experiment
from pipeline.training.learning_rate import rate_of_epoch, set_learning_rate
from pipeline.training.optimizers import advising
from pipeline.training.steps import attack_of_settings, naming
from search_space import Genotype, SearchSpace, Supernet, inherit
from search_space.supernet.relaxation import Relaxation, RelaxationState

STAGE = "pareto"


@dataclass(frozen=True, kw_only=True)
class FixedWeights(Relaxation):
    """The alphas are themselves the weights of the mixture."""

    def weights(self, space: SearchSpace, alphas: Tensor, state: RelaxationState) -> Tensor:
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


class Walk:
    """A search that goes on from the end of another, under other objectives, with images kept back to be judged on.

    search: its parts; `go_on_from` gives them the other search's state.  held_back: the images that judge.
    Random numbers are those of the epochs that follow the search, the same at every point.
    """

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
        self.experiment = experiment
        # the search's schedules have come to their end
        self.search = BilevelSearch(experiment, data, fabric, progress=1.0)
        part_seed = stream_seed(experiment.seed, STAGE, "held back")
        self.held_back = self.search.images.hold_back(experiment.pareto.held_back, part_seed, key="pareto.held_back")
        self._judged: nn.Module = self.search.supernet

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Take over a search's supernet; Adam forgets averages that are those of other objectives."""
        self.search.restore(state)
        adam = self.search.architecture_step.optimizer
        adam.state.clear()
        if self.experiment.pareto.alpha_learning_rate is not None:
            set_learning_rate(adam, self.experiment.pareto.alpha_learning_rate)

    def epochs(self) -> Iterator[dict[str, Any]]:
        """Train the alphas, and the weights where the settings say so; the row of each step."""
        search, settings = self.search, self.experiment.pareto
        weights = search.weight_step if settings.weights == "trained" else None
        for epoch in range(settings.epochs):
            seed_stream(self.experiment.seed, STAGE, epoch)
            for train, valid in search.batches():
                with advising(search.weight_step.optimizer), naming(f"epoch {epoch} of the walk"):
                    row = bilevel_step(search.architecture_step, weights, search.state, train, valid)
                yield {"epoch": epoch, **row}
            search.state.end_epoch()

    def adapt(self, genotype: Genotype) -> Iterator[float]:
        """Leave one cell of the supernet, and train its weights alone; the loss of each step."""
        settings, epochs = self.experiment.weight_optimizer, self.experiment.pareto.adapt_epochs
        weights = self._weights_of(genotype)
        for epoch in range(epochs):
            seed_stream(self.experiment.seed, STAGE, "adapt", epoch)
            rate = rate_of_epoch(settings, epoch, epochs, self.experiment.search.final_rate)
            set_learning_rate(weights.optimizer, rate)
            for train, _ in self.search.batches():
                with advising(weights.optimizer), naming(f"adapting epoch {epoch}"):
                    yield weights.step(train)["training_loss"]
            self.search.state.end_epoch()

    def _weights_of(self, genotype: Genotype) -> WeightStep:
        """Leave the weights of one cell alone, to be trained and judged; their optimizer begins anew."""
        search = self.search
        if search.supernet.partial_channels > 1:  # where no network is the same function
            fix_cell(search.supernet, search.table.space.one_hot(genotype))
            return search.weight_step_of(search.losses, search.weight_step.weights, are_trained=True)
        network = inherit(search.supernet, genotype)
        lay_out(network, self.experiment.fabric)
        self._judged = network
        losses = search.losses_of(network, on_batches(attack_of_settings(network, self.experiment.attack)))
        return search.weight_step_of(losses, list(network.parameters()), are_trained=True)

    def judge(self) -> tuple[Accuracy, Accuracy]:
        """Accuracy of the present network on the images held back, clean and under the judging attack."""
        attack = attack_of_settings(self._judged, self.experiment.pareto.attack)
        seed_stream(self.experiment.seed, STAGE, "judge")
        started, clean, robust = time.monotonic(), 0, 0
        for inputs, labels in even_batches(self.held_back, self.experiment.search.batch_size):
            with self.search.fabric.autocast():
                right = classified_right(self._judged, inputs, labels)
                clean += int(right.sum())
                # all are attacked: BatchNorm in a supernet sees the whole batch
                robust += int((right & classified_right(self._judged, attack(inputs, labels), labels)).sum())
        seconds, images = round(time.monotonic() - started, 2), len(self.held_back)
        name = f"{attack.settings['name']}-{self.experiment.pareto.attack.steps}"
        return (
            Accuracy(CLEAN, {}, clean, images, clean / images, *wilson_interval(clean, images), seconds),
            Accuracy(name, attack.settings, robust, images, robust / images, *wilson_interval(robust, images), seconds),
        )


def even_batches(images: ImageSet, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in batches of about `size`, none of them small: their statistics are what BatchNorm uses."""
    parts = max(1, len(images) // size)
    for _, inputs, labels in images.read(torch.arange(len(images)).tensor_split(parts)):
        yield inputs, labels
