"""The settings that a stage's result depends on, and whether a run folder holds a run with the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RunError
from pipeline.runs.metrics import flattened
from pipeline.runs.settings_record import defaults
from pipeline.settings import HOW_IMAGES_ARE_READ, Experiment, Settings


def check_same_settings(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise RunError that lists the keys in which two resolved settings differ.

    A setting that one of the two does not name, as it was stored before there was the setting, has its default there.
    """
    old, new = flattened(before), flattened(now)
    keys = sorted(old | new)
    old, new = ({key: values.get(key, defaults().get(key)) for key in keys} for values in (old, new))
    if listed := differences(old, new):
        raise RunError(f"{folder} holds a run with other settings ({listed}); use them, or choose another run=")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """List the keys of `before` whose values differ from those of `now`, with both; empty where none does.

    >>> differences({"seed": 0, "run": "a"}, {"seed": 1, "run": "a"})
    'seed was 0, is 1'
    """
    changed = [key for key in before if before[key] != now[key]]
    return "; ".join(f"{key} was {before[key]!r}, is {now[key]!r}" for key in changed)


def plain(settings: Mapping[str, Settings | int | str | None]) -> dict[str, Any]:
    """Turn settings into what JSON holds, to be compared and stored."""
    content = {k: v.model_dump(mode="json") if isinstance(v, Settings) else v for k, v in settings.items()}
    return dict(json.loads(json.dumps(content)))


def what_training_depends_on(experiment: Experiment, *names: str) -> dict[str, Any]:
    """Collect all that the result of a training stage depends on: its own settings by name, and the shared ones."""
    settings = plain({name: getattr(experiment, name) for name in ("seed", "data", "weight_optimizer", *names)})
    for key in ("test_split", "test_limit", *HOW_IMAGES_ARE_READ):  # the first two are read by evaluation alone
        del settings["data"][key]
    fabric = experiment.fabric
    # a key of its own only where it matters: what one process trained before there was the option stays valid
    shared = {"synchronised_statistics": True} if fabric.synchronised_statistics and fabric.devices > 1 else {}
    return settings | {"precision": fabric.precision, "processes": fabric.devices} | shared
