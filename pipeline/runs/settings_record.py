"""The settings that a run folder's stages were started with, by which they go on without being told again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pipeline.errors import RunError
from pipeline.runs.files import read_json, write_json
from pipeline.runs.schemas import Schema, checked, read_as
from pipeline.settings import Experiment, Settings

SETTINGS_FILE = "settings.json"
Stage = Literal["search", "retrain", "evaluate", "export", "pareto", "meta_train", "train_continuation"]
BASES: Mapping[str, tuple[Stage, ...]] = {
    "search": ("search", "pareto"),
    "retrain": ("retrain", "search", "pareto"),
    "evaluate": ("retrain", "search", "pareto"),  # not the last evaluation: several lie side by side
    "export": ("retrain", "search", "pareto"),
    "pareto": ("pareto", "search"),
    "meta_train": ("meta_train",),
    "train_continuation": ("train_continuation",),
}
"""By stage, whose settings it starts from: those of the first of these that was started in the folder."""

RESULTS: Mapping[Stage, tuple[str, tuple[str, ...]]] = {
    "search": ("search.json", ("settings",)),
    "retrain": ("network.json", ("training", "settings")),
    "meta_train": ("theta.json", ("settings",)),
    "train_continuation": ("continuation.json", ("settings",)),
}
"""Where a finished stage says what its result depends on, which is all that folders of older versions have."""

IN_FABRIC = {
    "precision": "precision",
    "processes": "devices",
    "synchronised_statistics": "synchronised_statistics",
}
"""Names in a result's settings -> keys of `fabric`."""

NOT_KEPT = {
    "run",
    "compare",
    # a folder that somebody else made must not name code that is run, or what else is read
    *(f"evaluate.{name}" for name in ("model", "model_arguments", "weights", "models", "surrogate")),
    "evaluate.replace",  # asked for once
    # nor where figures and networks are sent
    *("logger.name", "logger.project", "push.repository", "push.folder", "push.private"),
}

MENDED = "it was changed, or is of another version: remove it and give the settings on the command line"


class SettingsRecord(Schema):
    """The content of settings.json: the complete settings of each stage, as it was last started."""

    format: Literal["settings"] = "settings"
    version: Literal[1] = 1
    stages: dict[Stage, dict[str, Any]]


def keep_settings(folder: Path, stage: str, experiment: Experiment) -> None:
    """Note the settings of a stage in its run folder, once nothing can refuse them any more."""
    path = folder / SETTINGS_FILE
    before = read_as(path, SettingsRecord, stage).stages if path.exists() else {}
    kept = {str(name): settings for name, settings in before.items()}
    settings = nested({key: value for key, value in leaves(experiment) if key not in NOT_KEPT})
    if kept.get(stage) != settings:
        record = SettingsRecord.model_validate({"stages": {**kept, stage: settings}})
        write_json(path, record.model_dump(mode="json"))


def kept_settings(folder: Path, stage: str) -> dict[str, Any]:
    """Values by dotted key that a stage of this folder starts from; none of a new folder.

    They are those that its last start left, else an earlier stage's; of a folder of an older version, as many as its
    results name. Raises RunError that names the file where it is damaged or of another version.
    """
    found: dict[str, Any] = {}
    for base in reversed(BASES[stage]):
        found |= _recorded(folder, base) or result_settings(folder, base)
        if base != stage:
            found.pop("genotype", None)  # of the stage that it was given to alone
    return found


def result_settings(folder: Path, stage: Stage) -> dict[str, Any]:
    """Values by dotted key that a finished stage's result depends on; none where there is no result."""
    name, within = RESULTS.get(stage, ("", ()))
    if not name or not (folder / name).is_file():
        return {}
    content = read_json(folder / name)
    for key in within:
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        return {}  # said by the stage that reads it
    own = {key: value for key, value in content.items() if key not in (*IN_FABRIC, "genotype")}
    fabric = {key: content[name] for name, key in IN_FABRIC.items() if name in content}
    return _checked(folder / name, own | ({"fabric": fabric} if fabric else {}))


def _recorded(folder: Path, stage: Stage) -> dict[str, Any]:
    path = folder / SETTINGS_FILE
    if not path.exists():
        return {}
    content = read_as(path, SettingsRecord, "each stage").stages.get(stage)
    if content is None:
        return {}
    try:
        checked(content, Experiment, f"{path}: {stage}")
    except RunError as error:
        raise RunError(f"{error}; {MENDED}") from None
    return _checked(path, content)


def _checked(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key; raises RunError for keys that are none, and for text that would be looked up."""
    found = dict(_flat(content, Experiment))
    for key, value in found.items():
        if key not in defaults():
            raise RunError(f"{path}: unknown key {key[:100]}; {MENDED}")
        if "${" in str(value):
            raise RunError(f"{path}: {key} holds ${{...}}, which is for the command line alone; {MENDED}")
    return {key: value for key, value in found.items() if key not in NOT_KEPT}


@cache
def defaults() -> Mapping[str, Any]:
    """Return the default of every setting by its dotted key, as JSON has it."""
    return MappingProxyType(dict(leaves(Experiment())))


def leaves(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of settings and their values as JSON has them."""
    return _flat(settings.model_dump(mode="json"), type(settings), prefix)


def _flat(content: Mapping[str, Any], model: type[Settings], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested settings; a value that is itself a mapping stays whole."""
    for key, value in content.items():
        inner = model.model_fields[key].annotation if key in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, Settings) and isinstance(value, Mapping):
            yield from _flat(value, inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key as mappings inside one another."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *groups, name = key.split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    return tree
