"""Names of the folders of a sweep's jobs: what is varied, as file names that any file system takes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from atomic_files import kind_of

UNSAFE = re.compile(r"[^\w.+,\[\]-]")
LONGEST_VALUE, LONGEST_NAME = 80, 200  # bytes; file systems take 255
DIGITS = 8  # of a digest that tells values apart whose names were shortened or changed
WRITTEN_BY_HYDRA = ("multirun.yaml", "optimization_results.yaml")


def job_name(overrides: Iterable[Override]) -> str:
    """The folder of a job by what is varied, such as "attack.eps=8_255,seed=1"; simple values stand as they are."""
    parts = sorted(f"{override.get_key_element()}={value_name(override.value())}" for override in overrides)
    return _shortened(",".join(parts), ",".join(parts), LONGEST_NAME)


def value_name(value: Any) -> str:
    """A value without Hydra's quotes and escapes; a digest follows where more than a slash had to be replaced."""
    text = _text(value)
    safe = UNSAFE.sub("_", text)
    return _shortened(safe, text, LONGEST_VALUE if safe == text.replace("/", "_") else 0)


def check_names(overrides: Iterable[Override]) -> None:
    """Refuse, by a ValueError, values of one key by which two jobs would write into one folder."""
    for override in overrides:
        if override.is_discrete_sweep():
            values: dict[str, str] = {}
            for text in override.sweep_string_iterator():
                key = override.get_key_element()
                name = job_name(OverridesParser.create().parse_overrides([f"{key}={text}"]))
                if name in values:
                    raise ValueError(
                        f"{key} is varied over {values[name]} and {text}, whose jobs would share the folder {name}; "
                        "give each value once, or name the folders by run="
                    )
                values[name] = text


def check_written_by_hydra(folders: Sequence[str]) -> None:
    """Refuse, by a ValueError, a link or what is no file where Hydra writes its own files of a sweep: it follows it."""
    for path in (Path(folder) / name for folder in folders for name in WRITTEN_BY_HYDRA):
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ValueError(f"{path} is {kind_of(path.lstat().st_mode)}; expected a file or none: move it away")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{_text(item)}" for key, item in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(name: str, text: str, longest: int) -> str:
    """The name where it has at most `longest` bytes, else its beginning and a digest of the text."""
    content = os.fsencode(name)
    if len(content) <= longest:
        return name
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()[:DIGITS]
    return f"{content[: (longest or LONGEST_VALUE) - DIGITS - 1].decode(errors='ignore')}-{digest}"
