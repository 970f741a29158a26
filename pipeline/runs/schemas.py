"""The base of what files must hold, and the one function that reads a file by its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.errors import RunError
from pipeline.presentation.terminal import printable
from pipeline.runs.files import SHOWN_LETTERS, read_json
from search_space import Genotype

EXACT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Of all schemas: no unknown keys, no number that is a word or a truth value, no NaN."""

PREFIX = "Value error, "  # which pydantic puts before the words of a validator
T = TypeVar("T")


class Schema(BaseModel):
    """Base of what a file holds: immutable, exact, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**18)]
Figure = Annotated[float, Field(ge=-1e100, le=1e100)]
"""A measured number of any sign, of which a mean can be taken and a curve be drawn."""

Seconds = Annotated[float, Field(ge=0, le=1e12)]


def _is_genotype(content: dict[str, Any]) -> dict[str, Any]:
    Genotype.from_json(json.dumps(content))
    return content


PlainGenotype = Annotated[dict[str, Any], AfterValidator(_is_genotype)]
"""The content of a genotype.json."""


class Cost(Schema):
    """Size of a network: its parameters, and the multiply-accumulates of an image in both conventions."""

    parameters: Count
    conv_linear_macs: Count
    thop_macs: Count


def _names_the_machine(found: dict[str, str | int]) -> dict[str, str | int]:
    for key, kind in (("processor", str), ("system", str), ("threads", int)):
        if not isinstance(found.get(key), kind):
            raise ValueError(f"expected {key}, {'a text' if kind is str else 'a whole number'}")
    return found


Environment = Annotated[dict[str, str | int], AfterValidator(_names_the_machine)]
"""Where a stage computed: the content of `pipeline.compute.environment.environment`."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256."""


def may_be_same(one: str | None, other: str | None) -> bool:
    """Return whether two digests of weights are equal, or one of them is unknown, as in files of older versions."""
    return None in (one, other) or one == other


def read_as(path: Path, form: type[T], stage: str) -> T:
    """Read a stage's JSON. Raises RunError that names the file, and the key that holds something else."""
    return checked(read_json(path), form, f"{path} is not what {stage}.py writes")


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def adapter_of(form: Any) -> TypeAdapter[Any]:
    """Return the reader of a schema, made once: that takes longer than to read by it."""
    if form not in _ADAPTERS:
        _ADAPTERS[form] = TypeAdapter(form)
    return _ADAPTERS[form]


def checked(content: Any, form: type[T], wrong: str) -> T:
    """Give parsed JSON the form of a schema. Raises RunError that begins with `wrong` and names key and reason."""
    adapter: TypeAdapter[T] = adapter_of(form)
    try:
        # by way of JSON: from Python's values a strict schema takes no list as a tuple
        found = adapter.validate_json(json.dumps(content))
    except ValidationError as error:
        raise RunError(f"{wrong}: {first_error(error)}") from None
    for where, value in _read_otherwise(content, adapter.dump_python(found, mode="json")):
        raise RunError(f"{wrong}: {where}: expected {_shortened(repr(value[1]))}, found {_shortened(repr(value[0]))}")
    return found


def _read_otherwise(stored: Any, read: Any, where: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Values that are not read as they are stored, such as the word "2" where a setting takes it for the number 2."""
    if isinstance(stored, dict) and isinstance(read, dict):
        for key in stored.keys() & read.keys():
            yield from _read_otherwise(stored[key], read[key], f"{where}.{key}" if where else key)
    elif isinstance(stored, list) and isinstance(read, list) and len(stored) == len(read):
        for index, pair in enumerate(zip(stored, read, strict=True)):
            yield from _read_otherwise(*pair, f"{where}.{index}" if where else str(index))
    elif stored != read or isinstance(stored, bool) != isinstance(read, bool):
        yield where, (stored, read)


def first_error(error: ValidationError) -> str:
    """Return the first thing that a schema found wrong, in one line: its key, what was expected, and what was found."""
    first = error.errors()[0]
    where = ".".join(_shortened(str(part)) for part in first["loc"])
    found = first["input"]
    plain = found is None or isinstance(found, str | int | float)
    words = first["msg"].removeprefix(PREFIX) + (f", found {_shortened(repr(found))}" if plain else "")
    return f"{where}: {words}" if where else words


def _shortened(text: str) -> str:
    escaped = printable(text)
    return escaped if len(escaped) <= SHOWN_LETTERS else f"{escaped[:SHOWN_LETTERS]}..."
