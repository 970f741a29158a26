"""The base of what files must hold, and the one function that reads a file by its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from pipeline.files import SHOWN_LETTERS, RunError, read_json
from pipeline.terminal import printable

EXACT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Of all schemas: no unknown keys, no number that is a word or a truth value, no NaN."""

PREFIX = "Value error, "  # which pydantic puts before the words of a validator
T = TypeVar("T")


class Schema(BaseModel):
    """Base of what a file holds: immutable, exact, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def _names_the_machine(found: dict[str, str | int]) -> dict[str, str | int]:
    for key, kind in (("processor", str), ("system", str), ("threads", int)):
        if not isinstance(found.get(key), kind):
            raise ValueError(f"expected {key}, {'a text' if kind is str else 'a whole number'}")
    return found


Environment = Annotated[dict[str, str | int], AfterValidator(_names_the_machine)]
"""Where a stage computed: the content of `pipeline.environment.environment`."""


def read_as(path: Path, form: type[T], stage: str) -> T:
    """Read a stage's JSON. Raises RunError that names the file, and the key that holds something else."""
    return checked(read_json(path), form, f"{path} is not what {stage}.py writes")


def checked(content: Any, form: type[T], wrong: str) -> T:
    """Give parsed JSON the form of a schema. Raises RunError that begins with `wrong` and names key and reason."""
    try:
        # by way of JSON: from Python's values a strict schema takes no list as a tuple
        return TypeAdapter(form).validate_json(json.dumps(content))
    except ValidationError as error:
        raise RunError(f"{wrong}: {first_error(error)}") from None


def first_error(error: ValidationError) -> str:
    """The first thing that a schema found wrong, in one line: its key, what was expected, and what was found."""
    first = error.errors()[0]
    where = ".".join(_shortened(str(part)) for part in first["loc"])
    found = first["input"]
    plain = found is None or isinstance(found, str | int | float)
    words = first["msg"].removeprefix(PREFIX) + (f", found {_shortened(repr(found))}" if plain else "")
    return f"{where}: {words}" if where else words


def _shortened(text: str) -> str:
    escaped = printable(text)
    return escaped if len(escaped) <= SHOWN_LETTERS else f"{escaped[:SHOWN_LETTERS]}..."
