"""The points of a walk along the Pareto front: what is asked of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from pipeline.data import ImageData
from pipeline.errors import RunError
from pipeline.search.objectives import bounds_of, check_attainable, derived_shape
from pipeline.search.selection.continued_search import alone
from pipeline.settings import Experiment, ObjectiveSettings
from search_space import PUBLISHED, CostTable, Genotype

LARGEST_RATIO = 10.0  # of one preference to the other, at either end of a walk over preferences


@dataclass(frozen=True)
class Point:
    """A place on the walk.

    asked: objectives.<key> -> value, of what differs from point to point; empty for a published cell.
    experiment: with the point's own objectives.  genotype: of a published cell; None where one is to be found.
    """

    name: str
    asked: Mapping[str, Any]
    experiment: Experiment
    genotype: Genotype | None = None

    @property
    def epochs(self) -> int:
        """On the way to it and of its judgement; one whose genotype is given has nothing to find."""
        settings = self.experiment.pareto
        return settings.adapt_epochs + (settings.epochs if self.genotype is None else 0)


def plan(experiment: Experiment, data: ImageData) -> list[Point]:
    """Return the points of the walk that the settings describe, then the published cells.

    Raises ValueError when a point's bounds cannot be met, its preferences do not fit, or the supernet does not hold a
    published cell.
    """
    table = CostTable(experiment.space.build(), derived_shape(experiment, data))
    check_attainable(bounds_of(experiment.objectives), table)  # before they are shared out among the points
    points = [_point(f"{index:03}", experiment, asked) for index, asked in enumerate(_asked(experiment, table))]
    for point in points:
        try:
            check_attainable(bounds_of(point.experiment.objectives), table)
        except ValueError as error:
            raise RunError(f"point {point.name} of the walk: {error}") from None
    for name in experiment.pareto.published:
        try:
            table.space.check_member(PUBLISHED[name].genotype)
        except ValueError as error:
            raise RunError(f"pareto.published={name}: {error}") from None
        points.append(Point(name, {}, alone(experiment), PUBLISHED[name].genotype))
    return points


def _point(name: str, experiment: Experiment, asked: Mapping[str, Any]) -> Point:
    objectives = experiment.objectives.model_dump() | dict(asked)
    objectives["names"] = tuple(dict.fromkeys([*objectives["names"], *asked.keys() - {"preferences"}]))
    try:
        own = ObjectiveSettings.model_validate(objectives)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RunError(f"point {name} of the walk: {reason}") from None
    return Point(name, asked, alone(experiment).model_copy(update={"objectives": own}))


def _asked(experiment: Experiment, table: CostTable) -> Iterator[dict[str, Any]]:
    if experiment.pareto.walk == "preferences":
        return ({"preferences": values} for values in _preferences(experiment))
    size = experiment.pareto.walk
    return ({size: list(bounds)} for bounds in experiment.pareto.bounds or _equal_parts(experiment, table))


def _equal_parts(experiment: Experiment, table: CostTable) -> Iterator[tuple[int, int]]:
    """Bounds that share out what can be reached of one size inside the bounds of the search."""
    size, count = experiment.pareto.walk, experiment.pareto.points
    quantity = experiment.objectives.macs_convention if size == "macs" else size
    low, high = table.reachable(quantity)
    lower, upper = getattr(experiment.objectives, size)
    low, high = max(low, int(lower or low)), min(high, int(upper or high))
    return pairwise(low + (high - low) * part // count for part in range(count + 1))


def _preferences(experiment: Experiment) -> Iterator[dict[str, float]]:
    names, settings = experiment.objectives.names, experiment.pareto
    for values in settings.preferences or ():
        if len(values) != len(names):
            raise RunError(f"pareto.preferences: expected numbers for {', '.join(names)}, found {list(values)}")
        yield dict(zip(names, values, strict=True))
    if settings.preferences is not None:
        return
    if not {"accuracy", "robustness"} <= set(names):
        raise RunError("pareto.walk=preferences goes from accuracy to robustness; objectives.names needs both")
    own = experiment.objectives.preferences.model_dump()
    for part in range(settings.points):
        ratio = LARGEST_RATIO ** (1 - 2 * part / (settings.points - 1))
        yield own | {"accuracy": ratio**0.5, "robustness": ratio**-0.5}
