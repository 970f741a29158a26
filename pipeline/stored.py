"""What stages leave as JSON, as types by which a reader checks it; what is not named here may be there too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pipeline.files import RunError, read_json


class StoredName(TypedDict):
    """A network, of which the name is shown."""

    name: str


class StoredRobustness(TypedDict):
    """robustness.json, but for its rows."""

    settings: dict[str, Any]
    network: StoredName
    cost: dict[str, int] | None
    environment: NotRequired[dict[str, Any]]


class StoredTransferRow(TypedDict):
    """An accuracy of one network."""

    tried_on: str
    made_on: NotRequired[str]
    accuracy: float
    low: float
    high: float


class StoredTransfer(TypedDict):
    """transfer.json."""

    models: list[StoredName]
    attack: dict[str, Any]
    rows: list[StoredTransferRow]
    clean: list[StoredTransferRow]


def read_stored(path: Path, form: Any, stage: str) -> dict[str, Any]:
    """The content of a stage's JSON. Raises RunError that names the file, and what in it is of another form."""
    content = read_json(path)
    check_stored(content, form, f"{path} is not what {stage}.py writes")
    return dict(content)


def check_stored(content: Any, form: Any, wrong: str) -> None:
    """Raise RunError, `wrong` with the reason, unless the content has a form of this module."""
    try:
        TypeAdapter(form).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}." for part in first["loc"]).rstrip(".")
        raise RunError(f"{wrong}: {where + ': ' if where else ''}{first['msg']}") from None
