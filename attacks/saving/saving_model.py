"""The model under attack, through which an image passes only where its answer is not yet known.

An attack on a batch passes every image at every step, also one that was fooled long ago, and one whose iterate repeats:
projected steps of fixed size end in cycles (Kara et al. 2025, arXiv 2503.19347), and random search comes back to
squares it has tried. The verdict on an image needs none of these passes. They are left out here, under the attack, so
that the attack itself stays that of torchattacks, with all it draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attacks.saving.known_answers import KnownAnswers, Pass, Place, digests_of
from attacks.spec import Norm
from attacks.verdict import SURE, error_margin, inside_ball


class EveryImageFooledError(Exception):
    """No image of a run is left to attack."""


@dataclass(eq=False)
class Run:
    """An attack on images [N, C, H, W] with labels [N], whose every pass is of these images in this order.

    fooled: the images that have left.  found: [N, C, H, W], what fooled them.  logits: [N, classes] of it.
    """

    images: Tensor
    labels: Tensor
    eps: float
    norm: Norm
    fooled: list[bool] = field(init=False)
    found: Tensor = field(init=False)
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        self.fooled = [False] * len(self.images)
        self.found = self.images.detach().clone()

    @property
    def left(self) -> Tensor:
        """Return which images have left, bool [N]."""
        return torch.tensor(self.fooled, device=self.images.device)

    def look_at(self, images: Tensor, logits: Tensor) -> None:
        """Let the images leave that are called wrong for certain, inside the ball."""
        if self.logits is None:
            self.logits = logits.clone()
        wrong = error_margin(logits, self.labels) > SURE
        new = (wrong & inside_ball(images.detach(), self.images, self.eps, self.norm)).tolist()
        leaving = [row for row, fooled in enumerate(new) if fooled and not self.fooled[row]]
        for row in leaving:
            self.fooled[row] = True
        if leaving:
            self.found[leaving], self.logits[leaving] = images.detach()[leaving], logits[leaving]


class SavingModel(nn.Module):
    """The logits and gradients of `model`, without passes whose answer is known.

    An image whose bits were seen before has the logits it had then, and for the same slope the same gradient. Inside
    `run`, an image that was fooled has the logits that fooled and a gradient of zero, and none of its own any more.
    The answers are those of the model but for the rounding of batches of another size, as long as each image is
    classified by itself and nothing is drawn at random.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._known = KnownAnswers(model)
        self._run: Run | None = None

    @contextmanager
    def run(self, images: Tensor, labels: Tensor, eps: float, norm: Norm) -> Iterator[Run]:
        """Let images leave once they are fooled; EveryImageFooledError is raised by the pass that has none left."""
        self._run = Run(images, labels, eps, norm)
        try:
            yield self._run
        finally:
            self._run = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, C, H, W]."""
        if images.requires_grad and torch.is_grad_enabled():
            logits: Tensor = _Answered.apply(images, self)  # type: ignore[no-untyped-call]
            return logits
        return self.answer(images, gradient=False)[0]

    def answer(self, images: Tensor, *, gradient: bool) -> tuple[Tensor, Sources]:
        """Find the logits of images [N, C, H, W]: known ones, those that fooled, and the others by a pass."""
        run = self._run if self._run is not None and len(images) == len(self._run.images) else None
        if run is not None and all(run.fooled):
            raise EveryImageFooledError
        digests = digests_of(images)
        waiting = [row for row in range(len(images)) if run is None or not run.fooled[row]]
        places = {row: self._known.look_up(digests[row], gradient=gradient) for row in waiting}
        new = [row for row in waiting if places[row] is None]
        passed = None
        if new:
            chosen = images if len(new) == len(images) else images[new]
            passed = self._known.ask(chosen, [digests[row] for row in new], gradient=gradient)
        known = {row: place for row in waiting if (place := places[row]) is not None}
        logits = _gathered(passed, new, known, run, len(images))
        if run is not None:
            run.look_at(images, logits)
        return logits, Sources(passed, new, known, digests)

    def differentiate(self, images: Tensor, sources: Sources, slopes: Tensor) -> Tensor:
        """Return the gradient [N, C, H, W] for slopes [N, classes] at the logits that came from these sources."""
        gradient = torch.zeros_like(images)
        if sources.passed is not None:
            gradient[sources.new] = sources.passed.differentiate(slopes[sources.new])
        others = []
        for row, (found, index) in sources.known.items():
            if found.gradients is None or found.slopes is None or not torch.equal(found.slopes[index], slopes[row]):
                others.append(row)  # known for another loss
            else:
                gradient[row] = found.gradients[index]
        if others:
            again = self._known.ask(images[others], [sources.digests[row] for row in others], gradient=True)
            gradient[others] = again.differentiate(slopes[others])
        return gradient


@dataclass(frozen=True, eq=False)
class Sources:
    """Where the logits of images come from: a pass of the rows `new`, or earlier ones. Rows in neither have left."""

    passed: Pass | None
    new: Sequence[int]
    known: Mapping[int, Place]
    digests: Sequence[bytes]


class _Answered(torch.autograd.Function):
    """The logits of a SavingModel, with its gradient."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, model: SavingModel) -> Tensor:
        logits, ctx.sources = model.answer(images, gradient=True)
        ctx.model = model
        ctx.save_for_backward(images)
        return logits

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        (images,) = ctx.saved_tensors
        return ctx.model.differentiate(images.detach(), ctx.sources, slopes[0]), None


def _gathered(
    passed: Pass | None, new: Sequence[int], known: Mapping[int, Place], run: Run | None, number: int
) -> Tensor:
    """Collect logits [number, classes], of images that have left those that fooled."""
    if passed is not None and len(new) == number:
        return passed.logits.detach().clone()
    some = passed.logits if passed is not None else next(iter(known.values()))[0].logits
    logits = some.new_empty(number, some.shape[1])
    if run is not None and run.logits is not None:
        logits.copy_(run.logits)
    if passed is not None:
        logits[new] = passed.logits.detach()
    if known:
        logits[list(known)] = torch.stack([found.logits.detach()[row] for found, row in known.values()])
    return logits
