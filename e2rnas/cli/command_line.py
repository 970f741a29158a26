"""What can be wrong with a command line before its settings are looked at, and how Hydra's grammar is explained."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from e2rnas.cli.composing.config_errors import Refused, shortened

HELP_ALL = "--help=all"
HELP = {"-h", "--help", HELP_ALL}
# Hydra's others read configurations from elsewhere, one of them a pickle
FLAGS = ("-m", "--multirun", "-h", "--help", HELP_ALL)
LONGEST_OVERRIDE = 20_000  # letters: Hydra reads so many in two seconds; the largest space of conf/ has 1,000
SEARCH_PATH = "hydra.searchpath"  # of folders with groups of the user's own
EXPECTED = "expected key=value or group=option"


def check(arguments: Sequence[str]) -> None:
    """Raise Refused for a flag that is unknown, or an override that is too long to be read in a moment."""
    for argument in arguments:
        if argument.startswith("-") and argument not in FLAGS:
            raise Refused(f"unknown flag {shortened(argument)}; expected one of {', '.join(FLAGS)}, or key=value")
        if len(argument) > LONGEST_OVERRIDE:
            found = f"found {len(argument):,}"
            raise Refused(f"{shortened(argument)}: expected at most {LONGEST_OVERRIDE:,} letters, {found}")


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Return overrides as Hydra reads them, each text read once in a process. Raises its OverrideParseException."""
    return [_parsed(override) for override in overrides]


@lru_cache(maxsize=1024)  # the stages of a process, and the jobs of a sweep, mostly have the same ones
def _parsed(override: str) -> Override:
    return OverridesParser.create().parse_overrides([override])[0]


def unreadable(override: str) -> str:
    """What to say of an override that Hydra's grammar does not hold: with quotes, where they make it readable."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"{shortened(override)}: {EXPECTED}, found no ="
    if value == "~" or value.startswith("~/"):
        return f"{shortened(override)}: the shell left ~ as it is; write {shortened(f'{key}=$HOME{value[1:]}')}"
    quoted = f"{key}={_quoted(value)}"
    if value[:1] in ("[", "{") or not _is_readable(quoted):
        return f"{shortened(override)}: {EXPECTED}; a value is plain, quoted, a [list] or a {{name: value}}"
    return f"{shortened(override)}: this value has to be quoted, as in {shortened(shlex.quote(quoted))}"


def written(value: Any) -> str:
    """A value of Python as Hydra's grammar has it: text in quotes, lists in brackets.

    >>> written(["pgd-20", 0.5, None, True])
    '["pgd-20",0.5,null,true]'
    """
    if isinstance(value, str | PurePath):
        return _quoted(str(value))
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    # backslashes are themselves, but for those before a quote
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return f'"{escaped}"'


def _is_readable(override: str) -> bool:
    try:
        _parsed(override)
    except HydraException:
        return False
    return True
