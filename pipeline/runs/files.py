"""Files that are written whole or not at all, and read without waiting, without end, and without two meanings."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from atomic_files import kind_of
from atomic_files import write_atomically as write_atomically
from pipeline.errors import RunError

MEGABYTE = 10**6
LARGEST_TEXT = MEGABYTE  # bytes of a text that people write, such as a genotype
LARGEST_JSON = 100 * MEGABYTE  # bytes of what a stage writes once
LARGEST_LOG = 4000 * MEGABYTE  # bytes of what a stage adds to at every step: months of them
LARGEST_WEIGHTS = 40_000 * MEGABYTE  # bytes of tensors
DEEPEST = 50  # lists and objects inside one another
MOST_DIGITS = 20  # of a whole number: as many as one of 64 bits has
SHOWN_LETTERS = 60  # of a file's own words, in a line about it


def keep_beside(path: Path) -> None:
    """Copy a file to the next free number, as robustness-1.json, unless such a copy has its content already.

    Nothing is done where there is no file. Raises RunError or OSError that names what cannot be read or written.
    """
    if not os.path.lexists(path):
        return
    content = read_bytes(path, LARGEST_WEIGHTS)
    for copy in (path.with_stem(f"{path.stem}-{number}") for number in count(1)):
        if not os.path.lexists(copy):
            write_atomically(copy, content)
            break
        if copy.is_file() and copy.stat().st_size == len(content) and copy.read_bytes() == content:
            break


def write_json(path: Path, content: Any) -> None:
    """Write JSON, atomically; numbers that are not finite are refused, as JSON has none."""
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_bytes(path: Path, largest: int) -> bytes:
    """Read a file of at most `largest` bytes; a FIFO or a device in its place is refused and not waited for.

    Raises RunError that names the file when it is missing, larger, not a regular file, or cannot be read.
    """
    try:
        _check_kind(path, path.stat(), largest)  # before it is opened: opening is an act to some devices
        # a FIFO that takes its place between the two is not waited for
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            _check_kind(path, os.fstat(descriptor), largest)
            return file.read()
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None


def _check_kind(path: Path, status: os.stat_result, largest: int) -> None:
    """Raise RunError unless it is a regular file of at most `largest` bytes."""
    if not stat.S_ISREG(status.st_mode):
        raise RunError(f"{path} cannot be read: expected a file, found {kind_of(status.st_mode)}; remove it")
    if status.st_size > largest:
        raise RunError(f"{path} has {status.st_size:,} bytes; such a file may have at most {largest:,}")


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Read UTF-8, with or without a byte order mark. Raises RunError that names the file as `read_bytes` does."""
    try:
        return read_bytes(path, largest).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RunError(
            f"{path} is not text in UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        ) from None


def read_json(path: Path) -> Any:
    """Read JSON as `parse_json` does. Raises RunError that names the file when it is missing or not JSON."""
    text = read_text(path, LARGEST_JSON)
    try:
        return parse_json(text)
    except ValueError as error:
        raise RunError(f"{path} is not a JSON file: {error}") from None


def parse_json(text: str) -> Any:
    """Parse JSON that has one meaning everywhere: no key twice, no NaN, no number that overflows, no half letter.

    Raises ValueError, too, where lists and objects lie deeper inside one another than DEEPEST.
    """
    try:
        content = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_no_number
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > DEEPEST and any(depth > DEEPEST for depth in _depths(content)):
        raise ValueError(_TOO_DEEP)
    if "\\ud" in text.lower():
        _check_letters(content)
    return content


def json_lines(path: Path, writer: str, *, ended: bool) -> Iterator[tuple[Any, str]]:
    """Yield what each line of a file holds, with the words by which an error about it begins.

    A last line that is no JSON is what a killed process left half, and is none: also one with a line end where `ended`.
    writer: the program that writes such files.  Raises RunError that names the file and the line that is no JSON.
    """
    text = read_text(path, LARGEST_LOG)
    lines = text.splitlines()
    may_be_half = ended or not text.endswith("\n")
    for number, line in enumerate(lines, start=1):
        wrong = f"{path} is not what {writer}: line {number}"
        try:
            content = parse_json(line)
        except json.JSONDecodeError as error:
            if number == len(lines) and may_be_half:
                return
            raise RunError(f"{wrong} is no JSON: {error}") from None
        except ValueError as error:
            raise RunError(f"{wrong}: {error}") from None
        yield content, wrong


_TOO_DEEP = f"lists and objects lie more than {DEEPEST} deep inside one another"


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice[:SHOWN_LETTERS]!r} twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number has {len(digits):,} digits; at most {MOST_DIGITS} are read")
    return int(digits)


def _fraction(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:SHOWN_LETTERS]} is too large")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _depths(content: Any) -> Iterator[int]:
    """Yield how many lists and objects each one in the content lies in, itself counted."""
    waiting = [(content, 1)]
    while waiting:
        part, depth = waiting.pop()
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else None
        if inner is not None:
            yield depth
            waiting += [(each, depth + 1) for each in inner]


def _check_letters(content: Any) -> None:
    """Raise ValueError where an escape gives half of a letter (a lone surrogate), which no file can hold."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text has half a letter, an escape such as \\ud800 on its own") from None
