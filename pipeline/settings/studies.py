"""Settings of what takes many searches or trainings: comparison, Pareto front, tables, the study of searchers."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from pipeline.options.judges import JUDGES
from pipeline.options.searchers import SEARCHERS
from pipeline.settings.attack import AttackSettings
from pipeline.settings.base import (
    AtLeastTwo,
    Count,
    CountOrZero,
    OneOf,
    Positive,
    Processes,
    Range,
    Settings,
    Split,
    Weight,
)
from search_space.cells.published import PUBLISHED
from search_space.cells.resnet import resnet_layers


class ComparisonSettings(Settings):
    """Searched cells beside random and published ones and a ResNet, retrained by one recipe."""

    searches: Count = Field(3, description="searches, with seeds that count up from seed")
    random: AtLeastTwo = Field(10, description="random cells inside the bounds of the search")
    published: tuple[str, ...] = Field(
        ("DARTS_V2", "PC_DARTS_cifar", "PDARTS", "ADVRUSH", "RACL"),
        description="published cells, with the channels that come nearest to the searched cells' parameters",
    )
    resnet: Count | None = Field(
        8,
        description="depth of the hand-made control, a ResNet of 6 n + 2 layers, with the channels that come nearest "
        "to the searched cells' parameters; null for none",
    )
    seeds: Count = Field(3, description="retrainings of all cells but random ones, seeds count up from seed")
    random_seeds: Count = Field(1, description="retrainings of each random cell, seeds count up from seed")
    random_searches: CountOrZero | None = Field(
        None,
        description="searches without a supernet, of each kind, which train as many cells as a search has candidates; "
        "null for one a search",
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

    @field_validator("resnet")
    @classmethod
    def _is_a_depth(cls, depth: int | None) -> int | None:
        if depth is not None:
            resnet_layers(depth)
        return depth


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
        (), description="run folders of shards, or tables, whose cells become one table, without training"
    )
    processes: Processes | None = Field(None, description="cells trained at once; null for one a core")

    @model_validator(mode="after")
    def _the_shard_is_one_of_them(self) -> Self:
        if self.shard >= self.shards:
            raise ValueError(f"tabulate.shard={self.shard} counts from 0 and is below tabulate.shards={self.shards}")
        return self


class StudySettings(Settings):
    """Searchers on a table of cells: what each chooses, at what cost, and what foretells a cell's accuracy."""

    table: str = Field(
        "runs/table",
        min_length=1,
        description="the table: a run folder of tabulate, its file, one that is shipped, or FOLDER/DATA or "
        "FILE.json/DATA of a benchmark of others",
    )
    attack: str | None = Field(
        None, min_length=1, description="attack by which its cells are compared; null for the last one"
    )
    leave_out: CountOrZero = Field(
        0,
        description="cells that the study leaves out, such as those that settings were chosen on: so many of the first "
        "in the order in which tabulate trains them",
    )
    seeds: AtLeastTwo = Field(20, description="times that each searcher searches, with seeds that count up from seed")
    searchers: tuple[Annotated[str, OneOf(SEARCHERS)], ...] = Field(
        tuple(SEARCHERS), min_length=1, description="what searches the table itself, without a supernet"
    )
    budgets: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (1, 2, 4, 8, 16, 32, 64), description="whole trainings that a searcher of the table may pay for"
    )
    population: AtLeastTwo = Field(10, description="evolution: cells that live at once; the oldest one dies")
    sample: Count = Field(3, description="evolution: cells of the population, the best of which has a child")
    rival: Annotated[str, OneOf(SEARCHERS, where="trains")] = Field(
        "random_search", description="what every searcher is tested against at its own cost"
    )
    equal: Literal["passes", "seconds"] = Field(
        "passes", description="by what its cost is the same: image passes, weighed by MACs, or seconds of a core"
    )
    searches: dict[str, tuple[str, ...]] = Field(
        {}, description="searches by a supernet: what each changes in these settings, as the command line would"
    )
    supernets: tuple[str, ...] | None = Field(
        None, description="names out of study.searches, the searches that are made; null for all of them"
    )
    judges: tuple[Annotated[str, OneOf(JUDGES)], ...] = Field(
        tuple(JUDGES), description="what scores cells without training them in full"
    )
    judged: Annotated[Count, Field(ge=3)] | None = Field(
        200, description="cells that networks at their first weights are judged of; null for all of the table"
    )
    judged_by_supernets: CountOrZero = Field(
        0, description="cells of the table that each supernet judges with inherited weights; 0 for none"
    )
    processes: Processes | None = Field(None, description="searches or trainings at once; null for one a core")
    results: str = Field("benchmarks/results", min_length=1, description="folder of the results and their pictures")

    @field_validator("searchers", "judges", "budgets")
    @classmethod
    def _are_named_once(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) != len(values):
            raise ValueError("expected each once")
        return values

    @field_validator("searches")
    @classmethod
    def _names_are_those_of_folders(cls, searches: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in searches:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}", name) or name in SEARCHERS:
                raise ValueError(
                    "expected names of at most 40 letters, digits, _, ., + and -, none of them that of a searcher, "
                    f"found {name[:60]!r}"
                )
        return searches

    @property
    def chosen_searches(self) -> dict[str, tuple[str, ...]]:
        """Return the searches that are made, by name."""
        names = self.searches if self.supernets is None else self.supernets
        return {name: self.searches[name] for name in names}

    @model_validator(mode="after")
    def _supernets_are_searches(self) -> Self:
        names = self.supernets or ()
        if len(set(names)) != len(names) or not set(names) <= self.searches.keys():
            raise ValueError(
                f"study.supernets: expected names of study.searches, each once: {', '.join(self.searches)}"
            )
        return self

    @model_validator(mode="after")
    def _the_sample_is_of_the_population(self) -> Self:
        if self.sample > self.population:
            raise ValueError(f"study.sample={self.sample} is more than study.population={self.population}")
        return self
