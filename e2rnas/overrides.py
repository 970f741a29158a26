"""What a call asks for, as the overrides that the command line would be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from e2rnas.arrays import GivenImages
from e2rnas.cli.app import settings_of
from e2rnas.cli.command_line import written
from pipeline.settings import Experiment

ImageSource = GivenImages | str | Mapping[str, Any] | None
"""Arrays from `e2rnas.images`, a group of conf/data such as "cifar10", or keys such as {"path": "/data/pets"}."""

ELSEWHERE = {"run": "give the folder as the first argument", "experiment": "give it as preset="}


class Request(NamedTuple):
    """Checked settings, and the overrides that they were made of."""

    experiment: Experiment
    overrides: list[str]


def request(
    program: str, folder: str | Path, preset: str | None, data: ImageSource, settings: Mapping[str, Any]
) -> Request:
    """Compose the settings of a program, and check them. Raises ValueError with the line that a refusal prints."""
    for name in ELSEWHERE.keys() & settings.keys():
        raise ValueError(f"{name}: expected none among the settings; {ELSEWHERE[name]}")
    if not isinstance(data, GivenImages | str | Mapping | None):
        raise ValueError(
            f"data: expected e2rnas.images(...), a name such as 'cifar10', or keys such as {{'path': 'pets'}}, found a "
            f"{type(data).__name__}"
        )
    images = data.settings(Path(folder)) if isinstance(data, GivenImages) else data
    asked = {
        "run": folder,
        **({"experiment": preset} if preset else {}),
        **({} if images is None else {"data": images}),
        **settings,
    }
    overrides = [f"{key}={written(value)}" for key, value in _dotted(asked)]
    return Request(settings_of(program, overrides), overrides)


def names_of(attacks: Sequence[str]) -> list[str]:
    """Return the names of attacks as a list. Raises ValueError for one name alone, whose letters are no attacks."""
    if isinstance(attacks, str):
        raise ValueError(f"attacks: expected a list of names, as in attacks=[{attacks!r}], found one name")
    return list(attacks)


def _dotted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of nested mappings."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def kept(data: ImageSource, folder: str | Path) -> AbstractContextManager[None]:
    """Keep given arrays in the run folder for the work inside; there is nothing to keep of other images."""
    return data.kept_in(Path(folder)) if isinstance(data, GivenImages) else nullcontext()
