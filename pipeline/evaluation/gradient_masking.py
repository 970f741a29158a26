"""Signs of gradient masking: whether a network is robust, or merely hides its gradients from the attacks.

A network that hides its gradients looks robust to attacks that follow them, and is not. The signs are those of Athalye
et al. (2018) and Carlini et al. (2019): an attack that should be stronger is beaten by one that should be weaker, or a
perturbation that can erase any image does not. Nothing is measured here: accuracies in, a verdict out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.evaluation.accuracy import Accuracy

SINGLE_STEP = "fgsm"
FEW_STEPS = "pgd-20"
MANY_STEPS = "pgd-100"
RESTARTED = "pgd-20, restarted"
LARGE_RADIUS = "pgd-20, large radius"
NOISE = "noise"
BLACK_BOX = "square-1000"
SURROGATE = "surrogate's pgd-20"
NEEDED = frozenset({FEW_STEPS, MANY_STEPS, RESTARTED, LARGE_RADIUS, NOISE, BLACK_BOX, SURROGATE})  # fgsm has no L2
NOT_MUCH = 0.02  # by which more steps or starts may lower accuracy: more of the same always finds a little more

Rows = Mapping[str, Accuracy]
"""Accuracies by the names above; what does not apply is left out."""


@dataclass(frozen=True)
class Check:
    """One sign that was looked for. passed: it was not found.  reason: the figures, in one sentence."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What all checks say together. verdict: one line, with the reasons where the robustness is not to be believed."""

    believed: bool
    verdict: str
    checks: tuple[Check, ...]


def masking_verdict(rows: Rows, num_classes: int) -> Verdict:
    """Return the verdict on what was measured."""
    checks = tuple(check(rows, num_classes) for needed, check in _CHECKS.items() if needed in rows)
    failed = "; ".join(check.reason for check in checks if not check.passed)
    verdict = f"robustness not to be believed: {failed}" if failed else "no sign of gradient masking"
    if (drawn := _draws(rows.values())) > 1:
        verdict += f"; a network that draws at random: means over {drawn} draws"
    return Verdict(not failed, verdict, checks)


def remarks(rows: Iterable[Accuracy]) -> Iterator[str]:
    """What must be known before accuracies are believed, checks or none, each in one sentence without a full stop."""
    found = tuple(rows)
    blind = dict.fromkeys(row.attack for row in found if row.zero_gradient)
    if blind:
        yield (
            "the gradient of the logits to the images is zero wherever it was tried, as after rounding, so that "
            f"{', '.join(blind)} followed nothing and {'say' if len(blind) > 1 else 'says'} nothing of robustness"
        )
    if (drawn := _draws(found)) > 1:
        yield (
            "the network draws at random (two passes over the same images differ): accuracies are means over "
            f"{drawn} draws, intervals count the draws' spread, and attacks average logits over as many"
        )


def _draws(rows: Iterable[Accuracy]) -> int:
    return max((row.draws for row in rows), default=1)


def beats(weaker: Accuracy, stronger: Accuracy, margin: float = 0.0) -> bool:
    """Whether the attack that should be weaker leaves less than the 95 % interval of the other, and by a margin."""
    return weaker.accuracy < min(stronger.low, stronger.accuracy - margin)


def _large_radius(rows: Rows, num_classes: int) -> Check:
    """Half the range of a pixel can turn every image into the same grey, so that no classifier is above chance."""
    row, chance = rows[LARGE_RADIUS], 1 / num_classes
    reason = f"{_left(row)} within a radius that can erase every image, where chance is {chance:.1%}"
    return Check("large radius", row.low <= chance, reason)


def _gradient(rows: Rows, num_classes: int) -> Check:
    """A step that rounds has a gradient of zero, by which no attack finds its way."""
    row = rows[FEW_STEPS]
    how = "is zero at every image tried" if row.zero_gradient else "is not zero"
    return Check("gradient", not row.zero_gradient, f"the gradient of the logits to the images {how}")


def _more_steps(rows: Rows, num_classes: int) -> Check:
    reason = f"{_left(rows[MANY_STEPS])}, {_left(rows[FEW_STEPS])}"
    return Check("more steps", not beats(rows[MANY_STEPS], rows[FEW_STEPS], NOT_MUCH), reason)


def _restarts(rows: Rows, num_classes: int) -> Check:
    reason = f"{_left(rows[RESTARTED])}, a single start of it {rows[FEW_STEPS].accuracy:.1%}"
    return Check("restarts", not beats(rows[RESTARTED], rows[FEW_STEPS], NOT_MUCH), reason)


def _against_white_box(name: str, row: str) -> Callable[[Rows, int], Check]:
    """An attack that does not follow the network's gradients, or follows them once, against those that do."""

    def check(rows: Rows, num_classes: int) -> Check:
        white_box = min((rows[FEW_STEPS], rows[MANY_STEPS]), key=lambda found: found.accuracy)
        reason = f"{_left(rows[row])}, {_left(white_box)}"
        return Check(name, not beats(rows[row], white_box), reason)

    return check


def _left(row: Accuracy) -> str:
    return f"{row.attack} leaves {row.accuracy:.1%}"


_CHECKS: Mapping[str, Callable[[Rows, int], Check]] = {  # by the row without which there is no check
    FEW_STEPS: _gradient,
    LARGE_RADIUS: _large_radius,
    MANY_STEPS: _more_steps,
    RESTARTED: _restarts,
    SINGLE_STEP: _against_white_box("single step", SINGLE_STEP),
    NOISE: _against_white_box("noise", NOISE),
    BLACK_BOX: _against_white_box("black box", BLACK_BOX),
    SURROGATE: _against_white_box("transfer", SURROGATE),
}
