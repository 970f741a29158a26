"""What evaluation measured beside its attacks, as the report shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pipeline.evaluation.accuracy import Accuracy
from pipeline.evaluation.gradient_masking import Verdict
from pipeline.evaluation.stored_evaluation import Evaluation


@dataclass(frozen=True)
class Measured:
    """Empty or None where it was not asked for.

    class_names, class_images: of the images that were tried.  sweep: one accuracy an attack and
    radius, rising.  corruptions: one accuracy a corruption and severity.
    """

    class_names: Sequence[str] = ()
    class_images: Sequence[int] = ()
    sweep: Sequence[Accuracy] = ()
    verdict: Verdict | None = None
    corruptions: Sequence[Accuracy] = ()

    @classmethod
    def of(cls, evaluation: Evaluation | None) -> Self:
        """That of a protocol; all empty where there is none."""
        if evaluation is None:
            return cls()
        classes = evaluation.classes
        return cls(
            class_names=classes.names if classes else (),
            class_images=classes.images if classes else (),
            sweep=evaluation.sweep,
            verdict=evaluation.checks,
            corruptions=evaluation.corruptions,
        )

    @property
    def in_detail(self) -> bool:
        """Return whether there is anything."""
        return bool(self.class_names or self.sweep or self.verdict or self.corruptions)
