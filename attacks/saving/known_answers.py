"""What a model answered before: logits and gradients by the bits of an image."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

ANSWERS_PER_IMAGE = 128  # APGD's 100 steps, and the 64 neighbours of a digit that Square comes back to
MOST_BYTES = 2**28  # of gradients

Model = Callable[[Tensor], Tensor]


@dataclass(eq=False)
class Pass:
    """Images that went through the model together.

    inputs: [n, C, H, W], None where no gradient is to come.  logits: [n, classes].
    slopes: gradients of a loss to the logits, for which `gradients` to the images were computed; None before.
    """

    digests: Sequence[bytes]
    inputs: Tensor | None
    logits: Tensor
    slopes: Tensor | None = None
    gradients: Tensor | None = None

    def differentiate(self, slopes: Tensor) -> Tensor:
        """Compute the gradient [n, C, H, W] for slopes [n, classes], and free the graph."""
        if self.inputs is None:
            raise ValueError("expected a pass with a graph, found one without: ask for its images again")
        (gradients,) = torch.autograd.grad(self.logits, self.inputs, slopes)
        self.inputs, self.logits = None, self.logits.detach()
        self.slopes, self.gradients = slopes.clone(), gradients
        return gradients


Place = tuple[Pass, int]
"""A pass, and the row of an image in it."""


class KnownAnswers:
    """The newest answers of a model: at most `ANSWERS_PER_IMAGE` for each image of the largest pass, and MOST_BYTES."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._limit = self._rows = 0
        self._passes: deque[Pass] = deque()
        self._places: dict[bytes, Place] = {}

    def look_up(self, digest: bytes, *, gradient: bool) -> Place | None:
        """Return where the logits of an image are, and its gradient where one is asked for."""
        place = self._places.get(digest)
        return None if place is None or (gradient and place[0].gradients is None) else place

    def ask(self, images: Tensor, digests: Sequence[bytes], *, gradient: bool) -> Pass:
        """Pass images [n, C, H, W] through the model. gradient: so that they can be differentiated."""
        inputs = images.detach().clone()  # an attack may write into what it asked about
        with torch.set_grad_enabled(gradient):
            logits = self._model(inputs.requires_grad_(gradient))
        found = Pass(digests, inputs if gradient else None, logits)
        self._limit = max(self._limit, min(ANSWERS_PER_IMAGE * len(images), MOST_BYTES // images[0].nbytes))
        self._keep(found)
        return found

    def _keep(self, found: Pass) -> None:
        self._passes.append(found)
        self._rows += len(found.digests)
        self._places.update((digest, (found, row)) for row, digest in enumerate(found.digests))
        while self._rows > self._limit and len(self._passes) > 1:
            oldest = self._passes.popleft()
            self._rows -= len(oldest.digests)
            for digest in oldest.digests:
                if self._places.get(digest, (None, 0))[0] is oldest:
                    del self._places[digest]


def digests_of(images: Tensor) -> list[bytes]:
    """Return a cryptographic digest of each image [N, ...], by which two of the same bits are told from all others."""
    rows = images.detach().cpu().contiguous().flatten(1).numpy()
    return [blake2b(row, digest_size=16).digest() for row in rows]
