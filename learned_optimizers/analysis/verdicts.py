"""What was found, in plain words, with the figure that each verdict rests on."""

from __future__ import annotations

from dataclasses import dataclass

from learned_optimizers.analysis.analysis import Analysis
from learned_optimizers.analysis.linearisation import Mode
from learned_optimizers.analysis.mechanisms import LEAST_SHARE

LEAST_MEMORY = 0.1  # decay of a mode that is called momentum
SATURATED = 0.05  # slope far out over that at 0, of what is called clipping
LEAST_CHANGE = 1.1  # largest rate over smallest, of what is called a schedule
LEAST_ADAPTATION = 2.0  # change of the slope over sizes of gradients, of what is called adaptation


@dataclass(frozen=True)
class Verdict:
    """A mechanism. figure: what the verdict rests on, with its bound.  said: a sentence for people."""

    mechanism: str
    found: bool
    figure: str
    said: str


def verdicts_on(found: Analysis) -> list[Verdict]:
    """Judge the four mechanisms, in the paper's order."""
    return [_momentum(found), _clipping(found), _schedule(found), _adaptation(found)]


def number(value: complex) -> str:
    """Write a number with three digits, its imaginary part only where there is one.

    >>> number(0.9 + 0j), number(0.5 - 0.25j)
    ('0.9', '0.5-0.25i')
    """
    if abs(value.imag) <= 1e-6 * max(abs(value), 1e-12):
        return f"{value.real:.3g}"
    return f"{value.real:.3g}{value.imag:+.3g}i"


def _momentum(found: Analysis) -> Verdict:
    modes, leading = found.momentum.modes, found.momentum.leading
    if leading is None:
        said = "What lasts of a gradient is small beside what it moves at once, or nothing."
        return Verdict("momentum", False, f"no lasting mode has {LEAST_SHARE:.0%} of the strongest's strength", said)
    share = leading.strength / modes[0].strength
    figure = (
        f"leading mode: decay {number(leading.decay)}, step size {number(leading.step_size)}, {share:.0%} of the "
        f"strongest mode (bounds: {LEAST_MEMORY:g}, {LEAST_SHARE:.0%})"
    )
    if abs(leading.decay) < LEAST_MEMORY or leading.step_size.real <= 0:
        return Verdict("momentum", False, figure, "What lasts of a gradient is short, or goes uphill.")
    return Verdict("momentum", True, figure, f"{_lasting(leading)}{_beside_optimum(leading, found.optimum)}")


def _lasting(mode: Mode) -> str:
    kept = abs(mode.decay)
    steps = 1 / (1 - kept) if kept < 1 else float("inf")
    return f"Gradients are summed and fall by {kept:.3g} each step: a memory of about {steps:.3g} steps."


def _beside_optimum(mode: Mode, optimum: Mode | None) -> str:
    if optimum is None:
        return ""
    return (
        f" The heavy ball that is fastest on these tasks has decay {number(optimum.decay)} and step size "
        f"{number(optimum.step_size)}; this differs by {abs(mode.decay - optimum.decay):.3f} and "
        f"{abs(mode.step_size / optimum.step_size - 1):.0%}."
    )


def _clipping(found: Analysis) -> Verdict:
    clip = found.clipping
    figure = f"slope at |g| = {clip.far:g} over that at 0: {clip.ratio:.3g} (bound: {SATURATED:g})"
    if clip.ratio >= SATURATED:
        return Verdict(
            "gradient clipping", False, figure, "A larger gradient moves the parameter further, at any size."
        )
    said = (
        f"The update saturates at about the size that a gradient of {clip.knee:.3g} would have without it; "
        f"{clip.beyond:.1%} of the gradients met are larger."
    )
    return Verdict("gradient clipping", True, figure, said)


def _schedule(found: Analysis) -> Verdict:
    rates = found.schedule
    figure = f"largest over smallest effective rate: {rates.span:.3g} (bound: {LEAST_CHANGE:g})"
    if rates.span < LEAST_CHANGE:
        return Verdict("learning rate schedule", False, figure, "The rate does not depend on the step.")
    way = "falls" if abs(rates.change) < 1 else "rises"
    said = (
        f"From the first step to the last of {len(rates.rates)} the rate {way} to {abs(rates.change):.3g} times what "
        "it was, whatever the gradients."
    )
    return Verdict("learning rate schedule", True, figure, said)


def _adaptation(found: Analysis) -> Verdict:
    adapted = found.adaptation
    change = max(adapted.ratio, 1 / max(adapted.ratio, 1e-300))
    figure = (
        f"slope under gradients of {adapted.sizes[-1]:.3g} over that under {adapted.sizes[0]:.3g}: {adapted.ratio:.3g} "
        f"(bound: a factor of {LEAST_ADAPTATION:g})"
    )
    if change < LEAST_ADAPTATION:
        return Verdict("learning rate adaptation", False, figure, "Past gradients do not change the rate.")
    way = "falls" if adapted.ratio < 1 else "rises"
    said = (
        f"Where gradients were larger, the rate {way}: within ten times a typical size by the power "
        f"{adapted.exponent:.2f} of their size (1 / size, as of RMSProp, is -1)."
    )
    return Verdict("learning rate adaptation", True, figure, said)
