"""Groups of runs in the words of a table."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.presentation.words import magnitude, percent
from pipeline.report.run_reader import Plain
from pipeline.report.sweeps.seed_groups import Group, Spread, front, strongest_of


def group_rows(found: Sequence[Group], attacks: Sequence[str]) -> list[Plain]:
    """A row a group, in the words of the table."""
    marks = front(found, strongest_of(found))
    return [
        {
            "name": group.name,
            "seeds": ", ".join(map(str, group.seeds)),
            "figures": [
                *(size_in_words(group.size(size)) for size in ("parameters", "macs")),
                *(accuracy_in_words(group.accuracy(attack), len(group.runs)) for attack in attacks),
            ],
            "on_front": mark,
        }
        for group, mark in zip(found, marks, strict=True)
    ]


def accuracy_in_words(spread: Spread | None, runs: int) -> tuple[str, str]:
    """Mean and deviation, and the extremes; of one run its value alone. runs: of the group, which may be more."""
    if spread is None:
        return "-", ""
    of = "" if spread.count == runs else f" ({spread.count} of {runs})"
    if spread.count == 1:
        return percent(spread.mean) + of, ""
    value = f"{100 * spread.mean:.1f} ± {100 * spread.deviation:.1f}\N{NO-BREAK SPACE}%"
    return value + of, f"{100 * spread.low:.1f} to {100 * spread.high:.1f}"


def size_in_words(spread: Spread | None) -> tuple[str, str]:
    """Mean, and the extremes where they differ."""
    if spread is None:
        return "-", ""
    same = spread.low == spread.high
    return magnitude(spread.mean), "" if same else f"{magnitude(spread.low)} to {magnitude(spread.high)}"
