"""Tell that a learned optimizer is used beyond what it was trained for: too long, or with a loss that rises."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

EARLY_STEPS = 20  # losses of which none should be far above the first: what goes wrong later has other reasons
RISE = 3.0  # times the first loss; single batches of a training that goes well stay below


class BeyondTrainingWarning(UserWarning):
    """Warns that a learned optimizer trains for longer than it was trained itself, or that its first losses rise."""


@dataclass(frozen=True)
class TrainingWatch:
    """Counts steps and keeps the first loss.

    steps: that are done.  first_loss: the first one that was shown, None before.  has_risen: one of the first losses
    was above three times that.
    """

    steps: int = 0
    first_loss: float | None = None
    has_risen: bool = False

    @property
    def is_early(self) -> bool:
        """Return whether the next step is one of the first 20; the losses of later ones are not looked at."""
        return self.steps < EARLY_STEPS

    def is_too_high(self, loss: float) -> bool:
        """Return whether the loss of the next step, one of the first 20, is above three times a first one above 0."""
        first = 0.0 if self.first_loss is None else self.first_loss
        return self.is_early and first > 0 and loss > RISE * first

    def after_step(self, loss: float | None) -> TrainingWatch:
        """Count a step. loss: the one that was shown in it, None where none was."""
        if loss is None:
            return replace(self, steps=self.steps + 1)
        first = loss if self.first_loss is None else self.first_loss
        return TrainingWatch(self.steps + 1, first, self.has_risen or self.is_too_high(loss))

    def state(self) -> dict[str, Any]:
        """Return what `TrainingWatch(**state)` takes."""
        return asdict(self)
