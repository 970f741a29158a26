"""Settings of the search space."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

import search_space
from pipeline.settings.base import (
    Nodes,
    OneOf,
    Settings,
)
from search_space.cells.choices import DARTS_OPERATIONS, SpaceChoices
from search_space.cells.families import FAMILIES
from search_space.cells.genotype import OPERATION_NAMES

OperationName = Literal["none", *OPERATION_NAMES]  # type: ignore[valid-type]


EdgeOperations = tuple[tuple[OperationName, ...], ...]


class SpaceSettings(Settings):
    """The cells that a search chooses from."""

    family: Annotated[str, OneOf(FAMILIES)] = Field("darts", description="what cells have in common")
    nodes: Nodes = Field(4, description="intermediate nodes of a cell")
    operations: tuple[OperationName, ...] = Field(DARTS_OPERATIONS, description="what an edge may hold")
    normal: EdgeOperations | None = Field(
        None, description="what each edge of the normal cell may hold, node by node; null for all operations"
    )
    reduction: EdgeOperations | None = Field(None, description="the same of the reduction cell")

    @model_validator(mode="after")
    def _a_space_can_be_built(self) -> Self:
        _ = self.inputs
        return self

    @property
    def inputs(self) -> int:
        """States of a cell that come from outside. Raises ValueError where no space is like this."""
        return SpaceChoices(**dict(self)).inputs

    def build(self) -> search_space.SearchSpace:
        """The search space of these settings."""
        return search_space.SearchSpace(**dict(self))
