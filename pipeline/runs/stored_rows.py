"""The rows of metrics.jsonl, as schemas by which every reader reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from pipeline.runs.schemas import Cost, Count, Figure, Schema, Share
from pipeline.runs.stored_stages import SignsOfCollapse

DEEPEST_FIGURES = 4  # mappings of figures inside one another


def _is_figures(value: Any, depth: int = 0) -> Any:
    """Raise ValueError unless it is a number, null, or a list or mapping of these."""
    if isinstance(value, dict | list) and depth < DEEPEST_FIGURES:
        for part in value.values() if isinstance(value, dict) else value:
            _is_figures(part, depth + 1)
    elif not (value is None or isinstance(value, bool | int | float)):
        raise ValueError("expected numbers, or mappings of numbers by name")
    return value


Figures = Annotated[Any, AfterValidator(_is_figures)]
StoredBounds = tuple[Figure | None, Figure | None]


class StoredRow(Schema):
    """What rows of all stages hold; other keys hold figures."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Figures]

    stage: str
    step: Count


class StoredBalance(Schema):
    """The weights of the objectives in the direction that the alphas move against, and its norm."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Figures]

    weights: dict[str, Figure]
    norm: Figure


class SearchRow(StoredRow):
    """A step of a search, or of a walk along the Pareto front; in an epoch of warm-up the alphas wait."""

    epoch: Count
    warm_up: bool = False
    objectives: Annotated[dict[str, Figure], Field(min_length=1)] | None = None
    bounds: dict[Literal["parameters", "macs"], StoredBounds] | None = None
    balance: StoredBalance | None = None
    derived: Cost
    diagnostics: SignsOfCollapse | None = None

    @model_validator(mode="after")
    def _has_objectives(self) -> Self:
        if self.warm_up:
            return self
        missing = [name for name in ("objectives", "bounds", "balance") if getattr(self, name) is None]
        if missing or self.objectives is None or self.bounds is None:
            raise ValueError(f"expected {', '.join(missing)}")
        if unknown := self.bounds.keys() - self.objectives.keys():
            raise ValueError(f"expected objectives.{min(unknown)}, as bounds has it")
        return self


class RetrainRow(StoredRow):
    """A step of training from scratch; the last one of an epoch may hold a judgement."""

    epoch: Count
    training_loss: Figure
    training_accuracy: Share
    held_back_accuracy: Share | None = None
    held_back_clean_accuracy: Share | None = None
    held_back_trained_accuracy: Share | None = None
    catastrophic_overfitting: bool = False


class MetaRow(StoredRow):
    """An outer step of a learned optimizer's training."""

    loss: Figure


class ContinuationRow(StoredRow):
    """A step of the training of a network that continues Green's functions."""

    loss: Figure
    error: Figure


ROWS: Mapping[str, type[StoredRow]] = MappingProxyType(
    {
        "search": SearchRow,
        "pareto": SearchRow,
        "retrain": RetrainRow,
        "meta_train": MetaRow,
        "train_continuation": ContinuationRow,
    }
)
"""By the stage that writes them."""


def check_alike(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError unless all rows have the objectives, bounds and kinds of cells of the first one, if any.

    rows: of one stage, as `pipeline.runs.metrics.read_metrics` gives them.
    """
    ends = [row["diagnostics"] for row in rows if row.get("diagnostics")]
    for name, found in (("objectives", rows), ("bounds", rows), ("weight_free", ends)):
        sets = [set(part[name]) for part in found if part.get(name) is not None]
        if any(names != sets[0] for names in sets):
            raise ValueError(f"expected the same {name} in every row")
