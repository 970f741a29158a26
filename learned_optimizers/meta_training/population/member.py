"""One member of a population: its theta, the frozen snapshot that trains it, and an outer step of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from learned_optimizers.meta_training.outer import Lengths, OuterTraining
from learned_optimizers.meta_training.truncated_unrolls import UnrollRecipe
from learned_optimizers.tasks import Bucket, seeded_generator
from learned_optimizers.tasks.task import uniform
from learned_optimizers.theta import Theta, new_theta
from learned_optimizers.training_watch import BeyondTrainingWarning


@dataclass(frozen=True)
class OuterRecipe:
    """What the outer steps of all members have in common, as the arguments of `OuterTraining`.

    unroll: its seed is that of the population, and its sigma that of the first members.  scales: from
    `normalisation.start_scales`, which no optimizer measures.
    """

    unroll: UnrollRecipe
    scales: Mapping[Bucket, Tensor]
    lengths: Lengths
    streams: int
    clip: float

    def of_member(self, number: int, sigma: float) -> UnrollRecipe:
        """Return the recipe of a member's estimates: with tasks, batches and perturbations of its own."""
        seed = seeded_generator(self.unroll.seed, "member", number).initial_seed()
        return replace(self.unroll, seed=seed, sigma=sigma)


@dataclass(frozen=True, eq=False)
class Member:
    """A learned optimizer of a population, and how it is trained.

    vector: its theta, [n].  trainer: number of the member that trains it.  snapshot: theta of that member as it was
    when it became the trainer, [n].  sigma: of its estimates.  generation: copies between a random theta and this one.
    state: of the snapshot as an optimizer; None before its first step.  streams: of inner training, as a checkpoint
    holds them.  is_lost: a step would have made theta infinite or NaN; it then waits to be replaced.
    """

    vector: Tensor
    trainer: int
    snapshot: Tensor
    sigma: float
    generation: int = 0
    state: dict[str, Any] | None = None
    streams: Sequence[Any] = ()
    is_lost: bool = False

    def trained_by(self, trainer: int, snapshot: Tensor) -> Member:
        """Return it with a new trainer, which begins with a state of its own."""
        return replace(self, trainer=trainer, snapshot=snapshot, state=None)

    def without_streams(self) -> Member:
        """Return it with new inner trainings from the next step on: those at work were another theta's."""
        over = [(bucket, stream | {"end": stream["lanes"]["step"]}) for bucket, stream in self.streams]
        return replace(self, streams=over)

    def plain(self) -> dict[str, Any]:
        """Return what a checkpoint may hold."""
        return dict(vars(self))


@dataclass(frozen=True)
class MemberStep:
    """An outer step of one member; a pure function of these, in whatever process it is computed.

    like: any theta of the architecture.  steps: that the population has done.
    """

    recipe: OuterRecipe
    like: Theta
    number: int
    member: Member
    steps: int

    def __call__(self) -> tuple[Member, float]:
        """Return the member after the step, and its mean normalised loss over the unrolls: the cap where it is lost."""
        member = self.member
        if member.is_lost:
            return member, self.recipe.unroll.cap
        outer = self._outer()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BeyondTrainingWarning)  # of trainers that are not trained yet
            row = outer.step()
        after = outer.state()
        trained = replace(member, vector=after["vector"], state=after["optimizer"], streams=after["streams"])
        if not all(tensor.isfinite().all() for tensor in _tensors((trained.vector, trained.state))):
            trained = replace(member, is_lost=True)
        return trained, row["loss"]

    def _outer(self) -> OuterTraining:
        member, recipe = self.member, self.recipe
        outer = OuterTraining(
            self.like.with_vector(member.vector),
            recipe.of_member(self.number, member.sigma),
            recipe.scales,
            lengths=recipe.lengths,
            streams=recipe.streams,
            learning_rate=0.0,  # of an Adam that is not made
            clip=recipe.clip,
            trainer=self.like.with_vector(member.snapshot),
        )
        state = outer.optimizer.state_dict() if member.state is None else member.state
        outer.restore({"steps": self.steps, "vector": member.vector, "optimizer": state, "streams": member.streams})
        return outer


def first_members(
    architecture: str, count: int, recipe: OuterRecipe, *, scale: float = 1.0, trainers: Sequence[int] | None = None
) -> list[Member]:
    """Draw members with random thetas, each trained by the theta that another one begins with, or its own.

    scale: each theta is multiplied by a factor of its own, log-uniform between 1 and this. A larger one makes larger
    steps: those of random thetas are about 1e-3.  trainers: of each member, by number; None for a random permutation.
    Raises ValueError where they are not one number of a member for each.
    """
    seed = recipe.unroll.seed
    if trainers is None:
        trainers = torch.randperm(count, generator=seeded_generator(seed, "trainers")).tolist()
    if len(trainers) != count or not all(0 <= trainer < count for trainer in trainers):
        raise ValueError(f"expected {count} trainers out of 0 to {count - 1}, found {list(trainers)}")
    vectors = [theta.vector() for theta in random_thetas(architecture, count, seed, scale)]
    return [Member(vectors[n], trainer, vectors[trainer], recipe.unroll.sigma) for n, trainer in enumerate(trainers)]


def random_thetas(architecture: str, count: int, seed: int, scale: float) -> list[Theta]:
    """Draw thetas, each times a factor of its own that is log-uniform between 1 and `scale`."""
    thetas = []
    for number in range(count):
        generator = seeded_generator(seed, "theta", number)
        factor = math.exp(uniform(0, math.log(scale), generator))
        theta = new_theta(architecture, generator=generator)
        thetas.append(theta.with_vector(factor * theta.vector()))
    return thetas


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
