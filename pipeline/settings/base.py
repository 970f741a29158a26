"""Numbers and their ranges, no whole number without a largest one; the base of all settings is immutable and strict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema, core_schema

from on_demand import Option
from search_space.network.skeleton import MINIMUM_IMAGE_SIZE, MINIMUM_LAYERS

LARGEST = 4096  # channels or layers that a network.json may ask for
LARGEST_COUNT = 10**9  # of steps, images or parameters: no machine gets through more, and products fit 64 bits
LARGEST_SEED = 2**63 - 1  # seeds that count up from it still fit the 64 bits that PyTorch takes
MOST_PROCESSES = 1024  # or threads: of a hundred thousand, the libraries below end in a segmentation fault
MOST_NODES = 64  # of a cell, whose edges grow with the square; published cells have 3 to 7
LARGEST_IMAGE = 8192  # pixels a side
NO_NUMBER = "expected a number, neither true nor false"


def _from_fraction(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(NO_NUMBER)
    if isinstance(value, str) and "/" in value:
        try:
            value.encode("ascii")  # Fraction reads the digits of any script
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ArithmeticError):
            raise ValueError("expected a number or a fraction such as 8/255") from None
    return value


def _is_number(annotation: Any) -> bool:
    """Whether a field holds a whole number or a fraction, perhaps null."""
    parts = () if get_origin(annotation) in (tuple, dict) else get_args(annotation)
    return annotation in (int, float) or any(map(_is_number, parts))


Number = Annotated[float, BeforeValidator(_from_fraction)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Epsilon = Annotated[Number, Field(gt=0, le=1)]
"""A radius or step in units of the images' range [0, 1]."""

UpToOne = Annotated[Number, Field(ge=0, le=1)]
BelowOne = Annotated[Number, Field(ge=0, lt=1)]
Split = Annotated[Number, Field(gt=0, lt=1)]
Weight = Annotated[Number, Field(ge=1e-6, le=1e6)]
"""What something counts beside others; a wider range is lost in single precision."""

Count = Annotated[int, Field(gt=0, le=LARGEST_COUNT)]
CountOrZero = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
AtLeastTwo = Annotated[int, Field(ge=2, le=LARGEST_COUNT)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Processes = Annotated[int, Field(gt=0, le=MOST_PROCESSES)]
ProcessesOrZero = Annotated[int, Field(ge=0, le=MOST_PROCESSES)]
Nodes = Annotated[int, Field(gt=0, le=MOST_NODES)]
Pixels = Annotated[int, Field(ge=0, le=LARGEST_IMAGE)]
ImageSize = Annotated[int, Field(ge=MINIMUM_IMAGE_SIZE, le=LARGEST_IMAGE)]
Layers = Annotated[int, Field(ge=MINIMUM_LAYERS, le=LARGEST)]
Channels = Annotated[int, Field(ge=1, le=LARGEST)]
Range = tuple[Positive | None, Positive | None]


@dataclass(frozen=True, eq=False)
class OneOf:
    """Let a text name an option: Annotated[str, OneOf(BALANCES)]. The registry is read whenever one is checked.

    where: a field of the options that has to be true; "" for all of them.
    """

    options: Mapping[str, Option]
    where: str = ""

    def allowed(self) -> Mapping[str, Option]:
        """Return the options that may be named."""
        return {name: each for name, each in self.options.items() if not self.where or getattr(each, self.where)}

    @classmethod
    def within(cls, annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[OneOf]:
        """Find the registries that a type names, at any depth: those of a field are in its annotation and metadata."""
        yield from (each for each in metadata if isinstance(each, cls))
        inner, *rest = get_args(annotation) or (None,)
        if get_origin(annotation) is Annotated:
            yield from cls.within(inner, rest)
        else:
            for part in get_args(annotation):
                yield from cls.within(part)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check a name after it was found to be a text."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, name: str) -> str:
        if name not in self.allowed():
            raise ValueError(f"expected one of {', '.join(self.allowed())}")
        return name


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """To Python, true is the number 1."""
        if isinstance(value, bool) and _is_number(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError(NO_NUMBER)
        return value
