"""Numbers, settings and names in the words of the report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from attacks.registry import TRAINING_ATTACKS
from on_demand import label
from pipeline.options.objectives import OBJECTIVES
from pipeline.options.recipes import RECIPES
from pipeline.presentation.terminal import printable as printable

PIXEL_LEVELS = 255
BUDGETS = ("eps", "step", "alpha")  # shown in 255ths where they are whole ones


def magnitude(value: float) -> str:
    """A count with three digits: 36,120 as "36.1 k", 1,370,134 as "1.37 M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.{max(0, 2 - int(math.log10(abs(scaled) * 1.0005)))}f}\N{NO-BREAK SPACE}{unit}"
    return f"{value:g}"


def percent(share: float) -> str:
    """0.455 as "45.5 %"."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def counted(number: int, noun: str) -> str:
    """3 and "epoch" as "3 epochs"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def named(objective: str) -> str:
    """An objective as it is written in figures."""
    return label(OBJECTIVES, objective)


def bound_in_words(bound: Sequence[float | None]) -> str:
    """A bound in words, the shaded band of the figures."""
    lower, upper = bound
    if lower is None and upper is None:
        return "none"
    if lower is None or upper is None:
        return f"at least {lower:,.0f}" if upper is None else f"at most {upper:,.0f}"
    return f"from {lower:,.0f} to {upper:,.0f}"


def recipe_in_words(recipe: Mapping[str, Any]) -> str:
    """Return how a network was trained, from the settings of retraining: "by TRADES under PGD-10".

    Smoothed labels and averaged weights follow where there are some: "with labels smoothed by 0.1".
    """
    name, steps = recipe["attack"]["name"], recipe["attack"]["steps"]
    attack = label(TRAINING_ATTACKS, name) + (f"-{steps}" if TRAINING_ATTACKS[name].has_steps else "")
    replays = counted(recipe["replays"], "replay")
    trained = RECIPES[recipe["recipe"]].words.format(attack=attack, steps=steps, replays=replays)
    more = {"labels smoothed by": recipe["label_smoothing"], "weights averaged by a decay of": recipe["average_decay"]}
    with_these = " and ".join(f"{what} {value:g}" for what, value in more.items() if value)
    return f"{trained} with {with_these}" if with_these else trained


def shown(key: str, value: Any) -> str:
    """A setting for people: 0.03137254901960784 as 8/255."""
    if isinstance(value, float) and key.rpartition(".")[2] in BUDGETS:
        levels = value * PIXEL_LEVELS
        if levels and abs(levels - round(levels)) < 1e-6:
            return f"{round(levels)}/{PIXEL_LEVELS}"
    if isinstance(value, list):
        return ", ".join(shown(key, item) for item in value)
    if isinstance(value, float):
        return f"{value:,.6g}"
    return value if isinstance(value, str) else json.dumps(value)
