"""A stage starts from the settings that its run folder's own files hold; what the command line gives comes on top."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from e2rnas.cli.command_line import SEARCH_PATH, parsed
from e2rnas.cli.composing import groups
from e2rnas.cli.composing.config_errors import Refused
from e2rnas.cli.composing.groups import CONF, OF_REGISTRIES
from pipeline.runs.settings_record import Stage, kept_settings, leaves, result_settings
from pipeline.settings import DataSettings, Experiment

SEARCH_KEYS = ("space.", "objectives.", "search.")
FIXED: Mapping[Stage, Mapping[Stage, tuple[str, ...]]] = {
    "retrain": {"search": SEARCH_KEYS},
    "evaluate": {"search": SEARCH_KEYS, "retrain": ("retrain.",)},
    "export": {"search": SEARCH_KEYS, "retrain": ("retrain.",)},
}
"""Of a stage: what earlier ones were made with, and nothing can be done about it now."""
DONE = {"search": "searched", "retrain": "trained"}


def fill(config: DictConfig, overrides: Sequence[str], stage: Stage, *, one_process: bool) -> None:
    """Give the configuration the run folder's values, but where the command line gives its own.

    A key that follows another (evaluate.eps follows attack.eps) goes on doing so, where it did in the run folder.
    one_process: a stage that has no others does not ask for those of an earlier one.
    """
    run = OmegaConf.select(config, "run")
    if not isinstance(run, str) or not run:
        return
    kept = _with_images_moved(kept_settings(Path(run), stage), Path(run))
    if one_process:
        kept.pop("fabric.devices", None)
    put(config, kept, overrides)


def put(config: DictConfig, kept: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Give the configuration values by dotted key, but where overrides give their own, as `fill` does."""
    given = set(given_keys(overrides))
    written = dict(_paths(OmegaConf.to_container(config, resolve=False)))
    for key, value in kept.items():
        if key in written and written[key] == value:
            continue  # setting it anew takes a third of a millisecond, and there are two hundred
        follows = re.fullmatch(r"\$\{([\w.]+)\}", str(written.get(key)))
        if not _covers(given, key) and not (follows and kept.get(follows[1]) == value):
            OmegaConf.update(config, key, value, merge=False)


def _with_images_moved(kept: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Find images that lay in the run folder where they lie now: it may have been moved."""
    path = kept.get("data.path")
    own = folder / Path(path or "").name
    is_gone = path is not None and not Path(path).exists() and own != folder and own.is_dir()
    return {**kept, "data.path": str(own.resolve())} if is_gone else kept


def check_agrees(experiment: Experiment, overrides: Sequence[str], stage: Stage) -> None:
    """Raise Refused for a value on the command line that contradicts what a finished earlier stage was made with."""
    folder, values = Path(experiment.run), dict(leaves(experiment))
    given = set(given_values(overrides))
    for earlier, prefixes in FIXED.get(stage, {}).items():
        made_with = result_settings(folder, earlier)
        for key, before in made_with.items():
            if key.startswith(prefixes) and _covers(given, key) and values[key] != before:
                raise Refused(
                    f"{key}: {folder} was {DONE[earlier]} with {_shown(before)}, the command line says "
                    f"{_shown(values[key])}; leave it out, or choose another run="
                )
        if stage == "retrain" and made_with:
            _check_same_images(folder, made_with, experiment)


def _check_same_images(folder: Path, made_with: Mapping[str, Any], experiment: Experiment) -> None:
    known = {key.removeprefix("data."): value for key, value in made_with.items() if key.startswith("data.")}
    before, now = DataSettings.model_validate(known).set_name, experiment.data.set_name
    if before != now:
        raise Refused(
            f"data.name: {folder} was searched on {before}, the command line says {now}; choose another run= with "
            f"genotype={folder} to train its cell on {now}, or data.name={before} if these are the same images"
        )


def given_keys(overrides: Sequence[str]) -> Iterator[str]:
    """Dotted keys that overrides give a value, those in the files of groups too; a key stands for all below it."""
    folders = [CONF, *_search_path(overrides)]
    for key, value in _parsed(overrides):
        if groups.options(key) or any((folder / key).is_dir() for folder in folders):
            for option in value if isinstance(value, list) else [value]:
                yield from _of_option(folders, key, str(option))
        else:
            yield from (path for path, _ in _paths(value, key))


def given_values(overrides: Sequence[str]) -> Iterator[str]:
    """As `given_keys`, but without those of groups, of which a user may not know all."""
    for key, value in _parsed(overrides):
        if not groups.options(key):
            yield from (path for path, _ in _paths(value, key))


def _parsed(overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for override in parsed(overrides):
        yield override.key_or_group, override.value()


def _search_path(overrides: Sequence[str]) -> list[Path]:
    values = [value for key, value in _parsed(overrides) if key == SEARCH_PATH]
    return [Path(str(path).removeprefix("file://")) for value in values for path in value or ()]


def _of_option(folders: Sequence[Path], group: str, option: str) -> Iterator[str]:
    """Keys that an option of a group stands for: those of all the group's options, and of the defaults it names.

    Choosing one undoes the others, so that what its own file leaves out is as by default. That of a file that reaches
    over all settings, as an experiment does, is left as it was.
    """
    files = [path for folder in folders for path in sorted((folder / group).glob("*.yaml"))]
    path = next((path for path in files if path.stem == option), None)
    for default in (_content(path).get("defaults") or ()) if path else ():
        yield from _of_default(folders, group, default)
    if path is not None and _package(path) == "":
        yield from _of_file(path, group)
        return
    for each in (each for each in files if _package(each) != ""):
        yield from _of_file(each, group)
    if group in OF_REGISTRIES:
        yield from OF_REGISTRIES[group].keys()


def _of_file(path: Path, group: str) -> Iterator[str]:
    """Keys that a file gives a value; a group that is a node of the settings, such as data, as a whole."""
    package, content = _package(path), OmegaConf.to_container(_content(path), resolve=False)
    if package is None:
        yield group.replace("/", ".")
    elif isinstance(content, dict):
        values = {name: value for name, value in content.items() if name != "defaults"}
        yield from (f"{package}{key}" for key, _ in _paths(values) if key)


def _content(path: Path) -> DictConfig:
    """What a file holds; nothing where it is all comment, or no mapping."""
    stat = path.stat()
    return _content_of(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)  # a stage asks for each file of a group several times
def _content_of(path: Path, modified: int, size: int) -> DictConfig:
    content = OmegaConf.load(path)
    return content if isinstance(content, DictConfig) else OmegaConf.create({})


def _package(path: Path) -> str | None:
    """Where the values of a file stand, with a dot at the end: "" for all settings, None for its group."""
    found = re.search(r"^# @package (\S+)", path.read_text(encoding="utf-8"))
    if found is None:
        return None
    return "" if found[1] == "_global_" else f"{found[1]}."


def _of_default(folders: Sequence[Path], group: str, default: Any) -> Iterator[str]:
    """Of an entry of a list of defaults: an option of the same group, or {override /other: option}."""
    if isinstance(default, str):
        yield from _of_option(folders, group, default)
    elif isinstance(default, DictConfig):
        for name, option in default.items():
            other = str(name).removeprefix("override ").strip()
            yield from _of_option(folders, other.removeprefix("/"), str(option))


def _paths(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings; of what is none, the key it has."""
    if not isinstance(tree, Mapping) or not tree:
        yield key, tree
        return
    for name, inner in tree.items():
        yield from _paths(inner, f"{key}.{name}" if key else str(name))


def _covers(given: set[str], key: str) -> bool:
    """Whether a key, or one that it lies in, is among those given."""
    parts = key.split(".")
    return any(".".join(parts[:count]) in given for count in range(1, len(parts) + 1))


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
