"""The files of a set, local or from the hub: what is read of it, and that nothing leads out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from pipeline.compute.faults import first_line
from pipeline.data.decoding import UnreadableImageError
from pipeline.errors import RunError
from pipeline.runs.files import read_bytes

LARGEST_IMAGE_FILE = (
    400_000_000  # bytes of a file: more than the largest picture that is decoded takes without compression
)
SET_CARDS = ("README.md", ".huggingface.yaml")  # in which the library looks for the files of a set
IN_ARCHIVE, OF_ARCHIVE = "zip://", "::"  # zip://<path in the archive>::<path of the archive>, as the library writes it


class UnusableSetError(ValueError):
    """A set whose files are not as expected."""


@dataclass(frozen=True)
class SetFiles:
    """Where the images of a set may lie. Opened files are of this process alone.

    base: what relative paths are relative to.  folders: real paths; all that is read lies in one of them.
    """

    base: str
    folders: tuple[str, ...]

    def read(self, path: str) -> bytes:
        """The content of an image file. Raises UnreadableImageError, without a name, where it is none of the set's."""
        try:
            if path.startswith(IN_ARCHIVE) and OF_ARCHIVE in path:
                name, archive = path.removeprefix(IN_ARCHIVE).rsplit(OF_ARCHIVE, 1)
                return _read_member(self._inside(archive), name)
            return read_bytes(Path(self._inside(path)), LARGEST_IMAGE_FILE)
        except RunError as error:
            raise UnreadableImageError(f"cannot be read: {error}") from None
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            if isinstance(error, UnreadableImageError):
                raise
            raise UnreadableImageError(f"cannot be read: {first_line(error)}") from None

    def _inside(self, path: str) -> str:
        if "://" in path or OF_ARCHIVE in path:
            raise UnreadableImageError("is an address; expected the content itself, or a file of the set")
        found = os.path.realpath(Path(self.base, path))
        if not is_inside(found, self.folders):
            raise UnreadableImageError(f"leads to {found}, outside of the set; expected a copy inside")
        return found


def is_inside(path: str, folders: tuple[str, ...]) -> bool:
    """Return whether a real path lies in one of the folders, given as real paths."""
    return any(os.path.commonpath((path, folder)) == folder for folder in folders)


def _read_member(archive: str, name: str) -> bytes:
    found = _opened_archive(archive)
    size = found.getinfo(name).file_size
    if size > LARGEST_IMAGE_FILE:
        raise UnreadableImageError(f"has {size:,} bytes; an image may have at most {LARGEST_IMAGE_FILE:,}")
    return found.read(name)


@lru_cache(maxsize=16)  # a set has few archives; each is opened once
def _opened_archive(path: str) -> ZipFile:
    return ZipFile(path)


def check_folder(folder: str) -> None:
    """Raise UnusableSetError where a local folder holds what must not be opened, or what leads out of it.

    Hidden folders, which are not read, are left out.
    """
    root = os.path.realpath(folder)
    for path in _entries(root):
        name, real = os.path.relpath(path, root), Path(os.path.realpath(path))
        if not is_inside(str(real), (root,)):
            raise UnusableSetError(
                f"data.path={folder}: {name} leads to {real}, outside of the set; expected a copy inside"
            )
        if real.exists() and not (real.is_file() or real.is_dir()):
            raise UnusableSetError(f"data.path={folder}: {name} is a FIFO, a socket or a device; expected a file")


def _entries(folder: str) -> Iterator[str]:
    """Yield what is neither a plain file nor a folder to go down into: of millions of files a second's work."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):
                    yield from _entries(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                yield entry.path


def check_cards(folder: str) -> None:
    """Raise UnusableSetError where the card of a local set names files that are not below it."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    for name in SET_CARDS:
        path = Path(folder, name)
        if not path.is_file():
            continue
        card = metadata_load(path) if path.suffix == ".md" else yaml.safe_load(path.read_text("utf-8-sig"))
        for pattern in _patterns(card):
            if "://" in pattern or OF_ARCHIVE in pattern or {"..", "/"} & set(Path(pattern).parts):
                raise UnusableSetError(f"data.path={folder}: {name} names {pattern}; expected files of the set alone")


def _patterns(content: Any, named: bool = False) -> Iterator[str]:
    """Each text below data_files and data_dir."""
    if isinstance(content, str):
        yield from (content,) if named else ()
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _patterns(value, named or key in ("data_files", "data_dir"))
    elif isinstance(content, list):
        for value in content:
            yield from _patterns(value, named)
