"""What the accuracies on held-back images say of a training: its best epoch, its end, and whether it overfits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FALL = 0.2  # of the accuracy under PGD, at which the authors' code of Wong et al. 2020 stops


@dataclass(frozen=True)
class Judged:
    """Accuracies on the held-back images after `epoch` epochs.

    accuracy: the one that chooses the checkpoint, under PGD where training is adversarial.  clean: without attack.
    trained: under the attack of training, where that is set beside PGD.
    """

    epoch: int
    accuracy: float
    clean: float
    trained: float | None = None


def best(judged: Sequence[Judged]) -> Judged:
    """The highest accuracy; ties go to the later epoch."""
    return max(judged, key=lambda each: (each.accuracy, each.epoch))


def is_out_of_patience(judged: Sequence[Judged], patience: int | None) -> bool:
    """Whether the last `patience` judgements are none above all before them (Rice et al. 2020); None is never."""
    if patience is None or len(judged) <= patience:
        return False
    before, since = judged[:-patience], judged[-patience:]
    return max(each.accuracy for each in since) <= max(each.accuracy for each in before)


def first_overfitted(judged: Sequence[Judged]) -> int | None:
    """The first epoch that has overfitted catastrophically."""
    return next((each.epoch for count, each in enumerate(judged, 1) if has_overfitted(judged[:count])), None)


def has_overfitted(judged: Sequence[Judged]) -> bool:
    """Whether the last epoch has overfitted catastrophically (Wong et al. 2020): it resists its own attack alone.

    So when accuracy under PGD is FALL or more below that of the best epoch before, while accuracy under the attack of
    training has lost less than half of FALL since then.
    """
    *earlier, last = judged
    if not earlier:
        return False
    reference = best(earlier)
    if reference.trained is None or last.trained is None:
        return False
    return reference.accuracy - last.accuracy >= FALL and reference.trained - last.trained < FALL / 2
