"""A walk along the Pareto front: where it goes, and how the alphas of a trained supernet get there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import Batch, ImageData, ImageSet, split
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN, Accuracy, classified_right, wilson_interval
from pipeline.search.bilevel import BilevelSearch
from pipeline.search.objectives import bounds_of, check_attainable, derived_shape
from pipeline.settings import Experiment, ObjectiveSettings
from pipeline.training.optimizers import make_weight_optimizer, rate_of_epoch, set_learning_rate
from pipeline.training.steps import attack_on, naming
from search_space import PUBLISHED, CostTable, Genotype, SearchSpace, Supernet, inherit
from search_space.supernet.relaxation import Moment, Relaxation

STAGE = "pareto"
LARGEST_RATIO = 10.0  # of one preference to the other, at either end of a walk over preferences


@dataclass(frozen=True, kw_only=True)
class Given(Relaxation):
    """The alphas are themselves the weights of the mixture."""

    def weights(self, space: SearchSpace, alphas: Tensor, moment: Moment) -> Tensor:
        """The alphas."""
        return alphas


def set_cell(supernet: Supernet, one_hot: Tensor) -> None:
    """Let a supernet run one cell: probabilities [cells, edges, operations] in the place of its alphas."""
    device = supernet.alphas.device
    supernet.alphas = nn.Parameter(one_hot.float().to(device), requires_grad=False)
    supernet.relaxation = Given()


@dataclass(frozen=True)
class Point:
    """A place on the walk.

    asked: objectives.<key> -> value, of what differs from point to point; empty for a published cell.
    experiment: with the point's own objectives.  genotype: of a published cell; None where one is to be found.
    """

    name: str
    asked: Mapping[str, Any]
    experiment: Experiment
    genotype: Genotype | None = None

    @property
    def epochs(self) -> int:
        """On the way to it and of its judgement; one whose genotype is given has nothing to find."""
        settings = self.experiment.pareto
        return settings.adapt_epochs + (settings.epochs if self.genotype is None else 0)


def plan(experiment: Experiment, data: ImageData) -> list[Point]:
    """The points of the walk that the settings describe, then the published cells.

    Raises ValueError when a point's bounds cannot be met, its preferences do not fit, or the supernet does not hold a
    published cell.
    """
    table = CostTable(experiment.space.build(), derived_shape(experiment, data))
    check_attainable(bounds_of(experiment.objectives), table)  # before they are shared out among the points
    points = [_point(f"{index:03}", experiment, asked) for index, asked in enumerate(_asked(experiment, table))]
    for point in points:
        try:
            check_attainable(bounds_of(point.experiment.objectives), table)
        except ValueError as error:
            raise RunError(f"point {point.name} of the walk: {error}") from None
    for name in experiment.pareto.published:
        try:
            table.space.check_member(PUBLISHED[name].genotype)
        except ValueError as error:
            raise RunError(f"pareto.published={name}: {error}") from None
        points.append(Point(name, {}, alone(experiment), PUBLISHED[name].genotype))
    return points


def _point(name: str, experiment: Experiment, asked: Mapping[str, Any]) -> Point:
    objectives = experiment.objectives.model_dump() | dict(asked)
    objectives["names"] = tuple(dict.fromkeys([*objectives["names"], *asked.keys() - {"preferences"}]))
    try:
        own = ObjectiveSettings.model_validate(objectives)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RunError(f"point {name} of the walk: {reason}") from None
    return Point(name, asked, alone(experiment).model_copy(update={"objectives": own}))


def alone(experiment: Experiment) -> Experiment:
    """The experiment without an attack that goes on from that of the epoch before: a point has no epoch before."""
    return experiment.model_copy(update={"attack": experiment.attack.model_copy(update={"carry_over": False})})


def _asked(experiment: Experiment, table: CostTable) -> Iterator[dict[str, Any]]:
    if experiment.pareto.walk == "preferences":
        return ({"preferences": values} for values in _preferences(experiment))
    size = experiment.pareto.walk
    return ({size: list(bounds)} for bounds in experiment.pareto.bounds or _equal_parts(experiment, table))


def _equal_parts(experiment: Experiment, table: CostTable) -> Iterator[tuple[int, int]]:
    """Bounds that share out what can be reached of one size inside the bounds of the search."""
    size, count = experiment.pareto.walk, experiment.pareto.points
    quantity = experiment.objectives.macs_convention if size == "macs" else size
    low, high = table.reachable(quantity)
    lower, upper = getattr(experiment.objectives, size)
    low, high = max(low, int(lower or low)), min(high, int(upper or high))
    return pairwise(low + (high - low) * part // count for part in range(count + 1))


def _preferences(experiment: Experiment) -> Iterator[dict[str, float]]:
    names, settings = experiment.objectives.names, experiment.pareto
    for values in settings.preferences or ():
        if len(values) != len(names):
            raise RunError(f"pareto.preferences: expected numbers for {', '.join(names)}, found {list(values)}")
        yield dict(zip(names, values, strict=True))
    if settings.preferences is not None:
        return
    if not {"accuracy", "robustness"} <= set(names):
        raise RunError("pareto.walk=preferences goes from accuracy to robustness; objectives.names needs both")
    own = experiment.objectives.preferences.model_dump()
    for part in range(settings.points):
        ratio = LARGEST_RATIO ** (1 - 2 * part / (settings.points - 1))
        yield own | {"accuracy": ratio**0.5, "robustness": ratio**-0.5}


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
            set_cell(self.supernet, self.table.space.one_hot(genotype))
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
