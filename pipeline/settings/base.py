"""Numbers and their ranges, and the base of all settings: immutable, and without unknown keys."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from search_space.skeleton import MINIMUM_LAYERS

LARGEST = 4096  # channels or layers that a network.json may ask for


def _from_fraction(value: Any) -> Any:
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"expected a number or a fraction such as 8/255, found {value!r}") from None
    return value


Number = Annotated[float, BeforeValidator(_from_fraction)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Epsilon = Annotated[Number, Field(gt=0, le=1)]
"""A radius or step in units of the images' range [0, 1]."""

UpToOne = Annotated[Number, Field(ge=0, le=1)]
BelowOne = Annotated[Number, Field(ge=0, lt=1)]
Split = Annotated[Number, Field(gt=0, lt=1)]
Layers = Annotated[int, Field(ge=MINIMUM_LAYERS, le=LARGEST)]
Channels = Annotated[int, Field(ge=1, le=LARGEST)]
Range = tuple[Positive | None, Positive | None]


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
