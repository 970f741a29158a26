"""transfer.json: how attacks transferred between networks, by every protocol and list of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.evaluation.accuracy import CaseSettings, check_share
from pipeline.evaluation.stored_evaluation import VERSION, Classes, Description, Protocol, is_first_version, wrong_file
from pipeline.runs.files import read_json, write_json
from pipeline.runs.schemas import Digest, Schema, checked

TRANSFER_FILE = "transfer.json"


class TransferShare(Schema):
    """Test images that a network classifies right, clean and in all that was tried; the accuracy of a matrix."""

    tried_on: str
    right: int
    images: int
    accuracy: float
    low: float
    high: float
    draws: Annotated[int, Field(ge=1)] = 1
    spread: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _figures_agree(self) -> Self:
        check_share(self.right, self.images * self.draws, self.accuracy, self.low, self.high)
        return self


class TransferredShare(TransferShare):
    """The same on images that were attacked on another network, or on itself."""

    made_on: str


class TransferModel(Schema):
    """A network of the matrix, by the name that its rows have. state_sha256: as in `Evaluation`."""

    name: str
    network: Description
    state_sha256: Digest | None = None


class TransferHeader(Schema):
    """On what the figures of a matrix depend. attack: its settings, but for the network it is made on."""

    settings: Protocol
    models: tuple[TransferModel, ...]
    classes: Classes
    attack: CaseSettings

    @property
    def identity(self) -> dict[str, Any]:
        """Return it as JSON holds it, without what does not matter."""
        plain = self.model_dump(mode="json", include=set(TransferHeader.model_fields))
        return plain | {"settings": self.settings.key}


class Transfer(TransferHeader):
    """How attacks transferred between networks, by one protocol. rows: every pair of models."""

    rows: tuple[TransferredShare, ...]
    clean: tuple[TransferShare, ...]

    @model_validator(mode="after")
    def _every_pair_is_there_once(self) -> Self:
        names = [model.name for model in self.models]
        if not names or len(set(names)) < len(names):
            raise ValueError("models: expected names, each once")
        pairs = sorted((made_on, tried_on) for made_on in names for tried_on in names)
        if sorted((row.made_on, row.tried_on) for row in self.rows) != pairs:
            raise ValueError("rows: expected each pair of models once")
        if [row.tried_on for row in self.clean] != names:
            raise ValueError("clean: expected the models in their order")
        if any(row.images != sum(self.classes.images) for row in (*self.rows, *self.clean)):
            raise ValueError("rows, clean: expected the images of all classes in every row")
        if "name" not in self.attack:
            raise ValueError("attack: expected a name")
        return self


class TransferFile(Schema):
    """transfer.json. protocols: in the order in which they were last evaluated."""

    format: Literal["transfer"] = "transfer"
    version: Annotated[int, Field(ge=VERSION, le=VERSION)] = VERSION
    protocols: tuple[Transfer, ...] = ()


def read_transfer(path: Path) -> Sequence[Transfer]:
    """Read all that a transfer.json holds, as `read_robustness` does."""
    if not path.exists():
        return ()
    content, wrong = read_json(path), wrong_file(path)
    if is_first_version(content):
        return (checked(content, Transfer, wrong),)
    return checked(content, TransferFile, wrong).protocols[::-1]


def write_transfer(path: Path, transfers: Sequence[Transfer]) -> None:
    """Write what `read_transfer` reads."""
    write_json(path, TransferFile(protocols=tuple(transfers[::-1])).model_dump(mode="json"))
