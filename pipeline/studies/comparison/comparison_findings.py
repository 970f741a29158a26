"""What a comparison says: differences between kinds of cells with their errors, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from pipeline.studies.comparison.comparison_statistics import (
    CONTROL,
    PREDICTOR,
    RANDOM,
    RANDOM_SEARCH,
    SEARCHED,
    CellResult,
    Mean,
    MeanDifference,
    agreement,
    beaten,
    mean_difference,
    of_kind,
    seed_anova,
)

WITHOUT_SUPERNET: Mapping[str, str] = {
    RANDOM_SEARCH: "A random search has as many candidates, drawn at random within the bounds, and the same last "
    "choice, but no supernet",
    PREDICTOR: "A predictor makes the same last choice among cells drawn at random within the bounds, by their sizes "
    "alone",
}


def findings(standings: Sequence[CellResult], attack: str) -> str:
    """Return the differences between kinds, their errors and the places of the searched cells, in Markdown."""
    found, agreed = mean_difference(standings, attack), agreement(standings, attack)
    parts = [
        "Of a cell: mean ± sample deviation over its retrainings. Of a mean: ± its standard error over the cells.",
        f"**Searched minus random, accuracy under {attack}: {_points(found)}** ± is the standard error.",
        *_over_searches(standings, attack),
        *_over_control(standings, attack),
        *_told_apart(standings, attack),
        _places(standings, attack),
    ]
    if agreed is not None:
        parts.append(
            f"Rank correlation of the supernets' judgement with the retrained accuracy under {attack}, over "
            f"{agreed.cells} cells of the space: Kendall tau {agreed.kendall:+.2f} (p {agreed.kendall_p:.1g}), "
            f"Spearman {agreed.spearman:+.2f} (p {agreed.spearman_p:.1g})."
        )
    return "\n\n".join(parts)


def _told_apart(standings: Sequence[CellResult], attack: str) -> list[str]:
    """Return whether the comparison could have shown a difference between cells."""
    found = seed_anova(standings, attack)
    if found is None:
        return []
    return [
        f"Can cells be told apart? Beside what a seed does to all cells alike, retrainings of one random cell deviate "
        f"by {100 * found.within:.1f} points. Means of random cells deviate by {100 * found.between:.1f}; by "
        f"{100 * found.by_chance:.1f} they would if all cells were equal (F {found.f:.1f}, p {found.p:.2g})."
    ]


def _over_searches(standings: Sequence[CellResult], attack: str) -> Iterator[str]:
    """Yield what a supernet adds to each kind of search without one that is there."""
    for kind, meaning in WITHOUT_SUPERNET.items():
        if of_kind(standings, kind):
            found = mean_difference(standings, attack, kind)
            yield f"**Searched minus {kind}: {_points(found)}** {meaning}: this is what the supernets add."


def _over_control(standings: Sequence[CellResult], attack: str) -> list[str]:
    """Return what the search is above a network that took none, where there is one."""
    return [
        f"**Searched minus {cell.name}, hand-made: {_points(mean_difference(standings, attack, CONTROL))}** It is one "
        f"network, so that this has no error of cells; it takes {cell.macs:,} MACs."
        for cell in of_kind(standings, CONTROL)
    ]


def _places(standings: Sequence[CellResult], attack: str) -> str:
    """Say where each searched cell stands among the random ones."""
    random, lines = of_kind(standings, RANDOM), []
    for cell in of_kind(standings, SEARCHED):
        place = 1 + sum(other.accuracy(attack) > cell.accuracy(attack) for other in random)
        behind = {size: beaten(cell, random, attack, size) for size in ("parameters", "macs")}
        fronts = [
            f"by {'MACs' if s == 'macs' else s} {f'beaten by {n}' if n else 'on the front'}" for s, n in behind.items()
        ]
        lines.append(f"- {cell.name}: place {place} of {len(random) + 1} with the random cells; {', '.join(fronts)}.")
    return "\n".join(lines)


def with_error(figure: Mean) -> str:
    """Return a mean and its error, where it has one, in per cent."""
    return f"{100 * figure.value:.1f}{_error(figure)} %"


def _points(figure: MeanDifference) -> str:
    p = "" if math.isnan(figure.p) else f" (Welch's t test: p {figure.p:.2g})"
    return f"{100 * figure.value:+.1f}{_error(figure)} points{p}."


def _error(figure: Mean | MeanDifference) -> str:
    return "" if math.isnan(figure.error) else f" ± {100 * figure.error:.1f}"
