"""Settings of tabular benchmarks."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipeline.settings.base import Count, CountOrZero, Processes, Settings


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
