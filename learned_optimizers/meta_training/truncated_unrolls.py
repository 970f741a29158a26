"""One stream of inner training, unrolled truncation by truncation: what an outer step learns from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree

from learned_optimizers.architectures.registry import architecture
from learned_optimizers.meta_training.baselines import UpdateRule
from learned_optimizers.meta_training.choices import Estimator
from learned_optimizers.meta_training.estimators import es_from_losses
from learned_optimizers.meta_training.normalisation import normalised, weights_of_steps
from learned_optimizers.meta_training.unroll import Draw, UnrollState, same_in_all, unroll
from learned_optimizers.tasks import Bucket, seeded_generator
from learned_optimizers.theta import Theta

MEMBERS = 2  # of an antithetic pair: all that are moved by + sigma eps come first in the lanes, then their partners


@dataclass(frozen=True)
class UnrollRecipe:
    """How estimates are made. pairs: of a stream, each with a task of its own.  sigma: how far theta is moved.

    horizon: inner steps of a whole training.  full: unroll it at once, so that no truncation begins in its middle.
    cap: largest normalised loss.  outer_batches: of outer data a step.  task_seed: of the tasks themselves.
    late: how much more late steps of a training count, of `weights_of_steps`.  logarithmic: of `normalised`.
    """

    seed: int
    task_seed: int
    estimator: Estimator
    pairs: int
    sigma: float
    horizon: int
    full: bool
    cap: float
    outer_batches: int
    late: float = 0.0
    logarithmic: bool = False


@dataclass(frozen=True)
class Stream:
    """Where a stream is. indices: of its pairs' tasks.  episode: trainings before.  end: inner steps of this one.

    moved: sum of each pair's eps over the truncations of this training, [pairs, n].
    """

    indices: tuple[int, ...]
    episode: int
    end: int
    lanes: UnrollState
    moved: Tensor

    @property
    def is_over(self) -> bool:
        """Return whether the next truncation begins another training."""
        return self.lanes.step >= self.end

    def plain(self) -> dict[str, Any]:
        """Return what a checkpoint may hold."""
        return vars(self) | {"lanes": dict(vars(self.lanes))}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Stream:
        """Return the stream that `plain` describes."""
        return cls(**(dict(plain) | {"lanes": UnrollState(**plain["lanes"])}))


@dataclass(frozen=True)
class Estimates:
    """What a truncation gave. es, rp: one estimate a pair, [pairs, n]; rp is None where it was not asked for.

    losses: normalised, weighted mean over the truncation, [2 * pairs].
    not_finite: lanes with a loss, place or gradient that is not; its loss counts as the cap, its pair's RP estimate is
    the ES one, and the pair starts again.
    """

    es: Tensor
    rp: Tensor | None
    losses: Tensor
    not_finite: int
    stream: Stream


@dataclass(frozen=True)
class Truncation:
    """The next truncation of a stream. stream: None where there is none yet.  scale: of the bucket's tasks, [tasks, 2].

    Its outcome is a pure function of these, in whatever process it is computed.
    """

    recipe: UnrollRecipe
    bucket: Bucket
    theta: Theta
    stream: Stream | None
    length: int
    outer_step: int
    scale: Tensor

    def __call__(self) -> Estimates:
        """Unroll it, and estimate the gradient of its mean normalised loss in theta."""
        stream = self._current()
        generator = seeded_generator(self.recipe.seed, *self.bucket, "eps", self.outer_step)
        eps = torch.randn(self.recipe.pairs, self.theta.num_parameters, generator=generator)
        losses, gradients, lanes, wrong = self._unrolled(stream, eps)
        moved = stream.moved + eps
        plus, minus = losses.chunk(MEMBERS)
        es = es_from_losses(plus, minus, moved if self.recipe.estimator == "pes" else eps, self.recipe.sigma)
        rp = None
        if gradients is not None:
            rp = torch.stack(gradients.chunk(MEMBERS)).mean(0)
            rp = torch.where(rp.isfinite().all(1, keepdim=True), rp, es)
        restarted = wrong.view(MEMBERS, -1).any(0)
        lanes = self._carried(stream, lanes, restarted)
        moved = torch.where(restarted.unsqueeze(1), 0.0, moved)
        return Estimates(es, rp, losses, int(wrong.sum()), replace(stream, lanes=lanes, moved=moved))

    def _current(self) -> Stream:
        """The stream that goes on, or a new training; a stream's first is cut, so that streams do not end together."""
        if self.stream is not None and not self.stream.is_over:
            return self.stream
        recipe, episode = self.recipe, 0 if self.stream is None else self.stream.episode + 1
        generator = seeded_generator(recipe.seed, *self.bucket, "episode", episode)
        indices = tuple(torch.randint(len(self.scale), (recipe.pairs,), generator=generator).tolist())
        share = 1.0 if recipe.full or episode else torch.rand((), generator=generator).item()
        nothing = torch.zeros(recipe.pairs, self.theta.num_parameters)
        lanes = self._start(indices, episode)
        return Stream(indices, episode, max(1, round(share * recipe.horizon)), lanes, nothing)

    def _unrolled(self, stream: Stream, eps: Tensor) -> tuple[Tensor, Tensor | None, UnrollState, Tensor]:
        """Losses [lanes], their gradients [lanes, n] where asked for, where the lanes are, and which went wrong."""
        with_gradient = self.recipe.estimator in ("rp", "merged")
        thetas = self.theta.vector().detach() + self.recipe.sigma * torch.cat([eps, -eps])
        draw = self._draw(stream.indices, stream.episode)
        steps = self.recipe.horizon if self.recipe.full else self.length
        batches = draw.batches(stream.lanes.step, min(steps, stream.end - stream.lanes.step))
        with torch.set_grad_enabled(with_gradient):
            thetas.requires_grad_(with_gradient)
            by_name = vmap(lambda vector: self.theta.with_vector(vector).tensors)(thetas)
            curve, lanes = unroll(self._rule, by_name, draw.tasks[0], stream.lanes, batches)
            scale = torch.cat([self.scale[list(stream.indices)]] * MEMBERS)
            weights = weights_of_steps(stream.lanes.step, len(curve), self.recipe.horizon, self.recipe.late)
            values = normalised(curve, scale, self.recipe.cap, logarithmic=self.recipe.logarithmic)
            losses = (weights[:, None] * values).mean(0)
            gradients = torch.autograd.grad(losses.sum(), thetas)[0] if with_gradient else None
        params, state = pytree.tree_map_only(Tensor, Tensor.detach, (lanes.params, lanes.state))
        lanes = UnrollState(params, state, lanes.step)
        wrong = ~torch.stack([curve.isfinite().all(0), *(_finite(x) for x in _leaves(lanes))]).all(0)
        return losses.detach(), gradients, lanes, wrong

    def _carried(self, stream: Stream, lanes: UnrollState, restarted: Tensor) -> UnrollState:
        """Where the next truncation begins: each member where it is, or, but for "pes", both where the first one is."""
        again = torch.cat([restarted] * MEMBERS)
        fresh = self._start(stream.indices, stream.episode) if restarted.any() else lanes

        def carried(now: Tensor, begun: Tensor) -> Tensor:
            if self.recipe.estimator != "pes":
                now = torch.cat([now[: self.recipe.pairs]] * MEMBERS)
            return torch.where(again.view(-1, *[1] * (now.ndim - 1)), begun, now)

        params, state = pytree.tree_map(carried, (lanes.params, lanes.state), (fresh.params, fresh.state))
        return UnrollState(params, state, lanes.step)

    @property
    def _rule(self) -> UpdateRule:
        return architecture(self.theta.architecture)

    def _draw(self, indices: Sequence[int], episode: int) -> Draw:
        recipe = self.recipe
        tasks = [self.bucket.task(recipe.task_seed, index) for index in indices]
        seeds = [(recipe.seed, *self.bucket, "pair", episode, pair) for pair in range(recipe.pairs)]
        return Draw(tasks, seeds, MEMBERS, recipe.outer_batches)

    def _start(self, indices: Sequence[int], episode: int) -> UnrollState:
        theta = same_in_all(self.theta.tensors, MEMBERS * self.recipe.pairs)
        return self._draw(indices, episode).start(self._rule, theta)


def _leaves(lanes: UnrollState) -> list[Tensor]:
    return pytree.tree_leaves((lanes.params, lanes.state))


def _finite(tensor: Tensor) -> Tensor:
    """Say which lanes are finite: [lanes, ...] -> bool [lanes]."""
    return tensor.isfinite().flatten(1).all(1) if tensor.ndim > 1 else tensor.isfinite()
