"""Measuring one case of an evaluation: what is done to images, who is still right afterwards, and what that cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from attacks import CheckedAttack, counted_passes
from pipeline.compute.processes import done_by_all, share_of, sum_over_processes
from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import ImageSet
from pipeline.evaluation.accuracy import Accuracy, accuracy_over_draws, count_in_draws, right_in_draws
from pipeline.runs.progress import Bar
from search_space import fixed_weights

Change = Callable[[Tensor, Tensor], Tensor]
"""Images [N, C, H, W] in [0, 1] and labels [N] -> such images."""


@dataclass(frozen=True)
class EvaluationCase:
    """Something that is done to images before they are classified.

    settings: all that repeats it, as plain JSON values; with `name`, what tells it from other cases.
    change: None leaves the images as they are.
    is_attack: only images that are classified right are changed, and the others count as wrong.
    generator: what `change` draws from, on the CPU; it is seeded anew for each batch.
    draws: passes over what the images were changed into, more than 1 of a network that draws at random.
    zero_gradient: the attack follows a gradient that was found to be zero.
    before: what is tried on the images before the attack; what it fools is fooled.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None
    is_attack: bool = True
    generator: torch.Generator | None = None
    draws: int = 1
    zero_gradient: bool = False
    before: Change | None = None

    @property
    def stages(self) -> Sequence[Change]:
        """Return attacks in turn, each on the images that those before left; none where nothing attacks."""
        if self.change is None or not self.is_attack:
            return ()
        if self.draws > 1:
            return (self.change,)
        parts = self.change.stages if isinstance(self.change, CheckedAttack) else (self.change,)
        return parts if self.before is None else (self.before, *parts)


@dataclass(frozen=True)
class Measurement:
    """An accuracy, and the adversarial examples behind it.

    fooled: int64 [K], rising, which of the images are right before the attack and wrong after it.
    attacked: [K, C, H, W], what they were changed into. Empty where nothing attacks, and of a network that draws.
    """

    accuracy: Accuracy
    fooled: Tensor
    attacked: Tensor


def measure(
    network: nn.Module,
    images: ImageSet,
    case: EvaluationCase,
    *,
    num_classes: int,
    batch_size: int,
    seed: int,
    fabric: Fabric,
    bar: Bar,
) -> Measurement:
    """Measure the accuracy in one case on all `images`, which the processes share; the same with any number of them.

    The parts of an attack come one after the other, each on full batches of the images that are still right.
    seed: of all that is drawn, with the case's name, the part and the number of the batch.
    """
    case_of = _Measuring(network, images, case, batch_size=batch_size, seed=seed, fabric=fabric, bar=bar)
    started = time.monotonic()
    with counted_passes(network) as passes, fixed_weights(network):
        right = case_of.classify()
        for stage in range(len(case.stages)):
            case_of.attack(stage, right)
    by_class = count_in_draws(images.labels, right.to(images.labels.device), num_classes)
    counts = sum_over_processes(fabric, torch.tensor([passes.forwards, passes.backwards]))
    seconds = round(time.monotonic() - started, 2)
    found = accuracy_over_draws(case.name, case.settings, by_class, len(images), seconds)
    forwards, backwards = counts.tolist()
    found = replace(found, zero_gradient=case.zero_gradient, forwards=forwards, backwards=backwards)
    return Measurement(found, *case_of.examples())


class _Measuring:
    """One case on its way; which images are right so far, bool [draws, N] on the CPU, goes from step to step."""

    def __init__(
        self,
        network: nn.Module,
        images: ImageSet,
        case: EvaluationCase,
        *,
        batch_size: int,
        seed: int,
        fabric: Fabric,
        bar: Bar,
    ) -> None:
        self._network, self._images, self._case = network, images, case
        self._size, self._seed, self._fabric, self._bar = batch_size, seed, fabric, bar
        self._batches = -(-len(images) // batch_size)
        self._said = 0
        self._found: list[tuple[Tensor, Tensor]] = []  # of this process: indices and images that fooled

    def classify(self) -> Tensor:
        """Return which images are right before any attack, of corrupted images after it."""
        case, right = self._case, self._nothing(len(self._images))
        seen = torch.zeros(len(self._images), dtype=torch.bool)
        for places, inputs, labels in self._batches_of(torch.arange(len(self._images)), stage=0):
            if case.change is not None and not case.is_attack:
                inputs = case.change(inputs, labels)
            right[:, places] = right_in_draws(self._network, inputs, labels, case.draws).cpu().long()
            seen[places] = True
            self._say(0 if case.stages else self._done(places), right[:, seen])
        return sum_over_processes(self._fabric, right).bool()

    def attack(self, stage: int, right: Tensor) -> None:
        """Attack the images that are right in any draw, and note in `right` which are right after it."""
        standing = right.any(dim=0).nonzero().flatten()
        still = self._nothing(len(standing))
        change, stages = self._case.stages[stage], len(self._case.stages)
        so_far = right.long()
        for places, inputs, labels in self._batches_of(standing, stage):
            attacked = change(inputs, labels)
            after = right_in_draws(self._network, attacked, labels, self._case.draws).cpu()
            still[:, places] = after.long()
            so_far[:, standing[places]] = after.long()
            if self._case.draws == 1 and not after.all():
                wrong = ~after[0]
                self._found.append((standing[places][wrong], attacked[wrong.to(attacked.device)].float().cpu()))
            self._say((stage + self._done(places, len(standing))) / stages, so_far)
        right[:, standing] = sum_over_processes(self._fabric, still).bool()
        self._say((stage + 1) / stages, right)

    def examples(self) -> tuple[Tensor, Tensor]:
        """Return the adversarial examples of all processes, in the order of the images."""
        indices = [torch.empty(0, dtype=torch.int64), *(places for places, _ in self._found)]
        attacked = [torch.empty(0, *self._images.shape), *(images for _, images in self._found)]
        fooled, changed = torch.cat(indices), torch.cat(attacked)
        order = fooled.argsort()
        return gathered(self._fabric, fooled[order], changed[order], len(self._images))

    def _batches_of(self, standing: Tensor, stage: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield this process's batches: places in `standing`, images and labels, under autocast and seeded."""
        if not len(standing):
            return
        chosen = self._images if len(standing) == len(self._images) else self._images.take(standing)
        for batch, inputs, labels in chosen.shared_batches(self._size, share_of(self._fabric)):
            self._seed_batch(stage, batch)
            places = torch.arange(batch * self._size, batch * self._size + len(labels))
            with self._fabric.autocast():
                yield places, inputs, labels

    def _seed_batch(self, stage: int, batch: int) -> None:
        """Seed what a network that holds noise draws from, the global generators, and that of the case."""
        where = (batch, stage) if stage else (batch,)
        seed_stream(self._seed, "evaluate", self._case.name, *where)
        if self._case.generator is not None:
            self._case.generator.manual_seed(stream_seed(self._seed, "change", self._case.name, *where))

    def _nothing(self, images: int) -> Tensor:
        return torch.zeros(self._case.draws, images, dtype=torch.int64)

    def _done(self, places: Tensor, of: int | None = None) -> float:
        """Return the part of a pass over images that all processes have done, after this one's batch."""
        batches = -(-(len(self._images) if of is None else of) // self._size)
        batch = int(places[0]) // self._size
        return (batch + done_by_all(self._fabric, batch, batches)) / batches

    def _say(self, part: float, right: Tensor) -> None:
        """Advance the bar to a part of this case's batches."""
        reached = round(part * self._batches)
        share = int(right.sum()) / right.numel()
        self._bar.advance(f"{self._case.name} {share:.1%}", by=reached - self._said)
        self._said = reached


def gathered(fabric: Fabric, fooled: Tensor, attacked: Tensor, images: int) -> tuple[Tensor, Tensor]:
    """Join the examples of all processes, each of other images: indices int64 [K], rising, and [K, C, H, W]."""
    if fabric.world_size == 1:
        return fooled, attacked
    mine = torch.zeros(images, dtype=torch.int64)
    mine[fooled] = 1
    all_fooled = sum_over_processes(fabric, mine).nonzero().flatten()
    places = torch.searchsorted(all_fooled, fooled)
    bits = torch.zeros(len(all_fooled), *attacked.shape[1:], dtype=torch.int32)
    bits[places] = attacked.view(torch.int32)  # whole numbers are added without rounding
    return all_fooled, sum_over_processes(fabric, bits).view(torch.float32)
