"""Settings of what takes many searches or trainings: comparison, Pareto front, tables."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from pipeline.settings.attack import AttackSettings
from pipeline.settings.base import (
    AtLeastTwo,
    Count,
    CountOrZero,
    Positive,
    Processes,
    Range,
    Settings,
    Split,
    Weight,
)
from search_space.cells.published import PUBLISHED


class ComparisonSettings(Settings):
    """Searched cells beside random and published ones, retrained by one recipe."""

    searches: Count = Field(3, description="searches, with seeds that count up from seed")
    random: AtLeastTwo = Field(10, description="random cells inside the bounds of the search")
    published: tuple[str, ...] = Field(
        ("DARTS_V2", "PC_DARTS_cifar", "PDARTS", "ADVRUSH", "RACL"),
        description="published cells, with the channels that come nearest to the searched cells' parameters",
    )
    seeds: Count = Field(3, description="retrainings of searched and published cells, seeds count up from seed")
    random_seeds: Count = Field(1, description="retrainings of each random cell, seeds count up from seed")
    random_searches: CountOrZero | None = Field(
        None,
        description="last choices between random cells, as many as a search has candidates; null for one a search",
    )
    processes: Processes | None = Field(None, description="retrainings at once; null for one a core")
    results: str = Field("benchmarks/results", min_length=1, description="folder of the table and the pictures")

    @field_validator("published")
    @classmethod
    def _are_known_and_named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in PUBLISHED]
        if unknown or len(set(names)) != len(names):
            raise ValueError(f"expected names of published cells, each once: {', '.join(PUBLISHED)}")
        return names


class ParetoSettings(Settings):
    """A walk along the Pareto front, from one trained supernet; and how a supernet judges, of comparisons too."""

    walk: Literal["parameters", "macs", "preferences"] = Field(
        "parameters", description="what differs from point to point: bounds of one size, or preferences"
    )
    points: AtLeastTwo = Field(6, description="number of points; not used where they are listed")
    bounds: Annotated[tuple[Range, ...], Field(min_length=1)] | None = Field(
        None, description="parameters, macs: [lower, upper] of each point; null shares out what can be reached"
    )
    preferences: Annotated[tuple[tuple[Weight, ...], ...], Field(min_length=1)] | None = Field(
        None,
        description="preferences: of each point, in the order of objectives.names; null for accuracy to robustness "
        "from 10:1 to 1:10",
    )
    epochs: Count = Field(5, description="epochs of the alphas to each point, from where the search ended")
    weights: Literal["frozen", "trained"] = Field(
        "frozen", description="what the supernet's weights do meanwhile; trained: as in the search"
    )
    alpha_learning_rate: Positive | None = Field(
        None, description="learning rate of the alphas; null for search.alpha_learning_rate"
    )
    adapt_epochs: CountOrZero = Field(
        2, description="epochs of the supernet's weights in a point's cell alone, before it is judged there"
    )
    held_back: Split = Field(0.5, description="part of the images of the alphas that judges points and trains none")
    attack: AttackSettings = Field(AttackSettings(steps=10), description="under which the supernet judges a point")
    published: tuple[str, ...] = Field((), description="published cells that are judged beside the points")
    retrain: bool = Field(False, description="also retrain and evaluate every point, and let that judge it")

    @model_validator(mode="after")
    def _what_is_listed_is_walked(self) -> Self:
        if self.bounds is not None and self.walk == "preferences":
            raise ValueError("pareto.bounds are of pareto.walk=parameters or macs; walk=preferences has none")
        if self.preferences is not None and self.walk != "preferences":
            raise ValueError(f"pareto.preferences are of pareto.walk=preferences; walk={self.walk} has none")
        unknown = [name for name in self.published if name not in PUBLISHED]
        if unknown or len(set(self.published)) != len(self.published):
            raise ValueError(f"pareto.published: expected published cells, each once: {', '.join(PUBLISHED)}")
        return self


class TabulateSettings(Settings):
    """Cells of the space, each trained with several seeds by the recipe of retraining and attacked, as one table."""

    cells: Count | None = Field(
        1000, description="cells that compute different functions; null for all, of a space that can be listed"
    )
    seeds: Count = Field(3, ge=2, description="trainings of each cell, side by side; seeds count up from seed")
    shards: Count = Field(1, description="parts that the cells are dealt out to, each for a run of its own")
    shard: CountOrZero = Field(0, description="the part that this run trains, from 0")
    merge: tuple[str, ...] = Field(
        (), description="run folders of shards, whose cells become one table, without training"
    )
    processes: Processes | None = Field(None, description="cells trained at once; null for one a core")

    @model_validator(mode="after")
    def _the_shard_is_one_of_them(self) -> Self:
        if self.shard >= self.shards:
            raise ValueError(f"tabulate.shard={self.shard} counts from 0 and is below tabulate.shards={self.shards}")
        return self
