"""Files that are there whole or not at all, written without following a link."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from pathlib import Path
from typing import IO

MARK = ".e2rnas.tmp"  # ends the names of unfinished files, by which they are told from other programs'
FILE_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}
UNFINISHED = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(MARK)}")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or, if the process dies, not at all (an older one then stays).

    A link in its place is replaced; what the link points to stays as it is.
    Raises OSError that names the file where the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, file = _new_file_beside(path)
        with file:
            try:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # a failed write() does not say of what


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files that killed processes left directly in a folder, and nothing else.

    Only regular files of this user go, named as `write_atomically` names them, that no living process writes.
    """
    for path in folder.glob(f".*{MARK}"):
        if UNFINISHED.fullmatch(path.name):
            with contextlib.suppress(OSError, ValueError):  # what cannot be opened or locked stays
                _remove_if_abandoned(path)


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file as os.open does, neither following a link nor waiting for a pipe; returns its descriptor.

    Raises ValueError that says what else is there, and OSError where the file cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link, a pipe that nobody reads, a folder
            raise ValueError(_not_regular(path, path.lstat().st_mode)) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ValueError(_not_regular(path, mode))
    return descriptor


def kind_of(mode: int) -> str:
    """What a file of a mode is, in words. mode: as os.stat and os.lstat give it."""
    return FILE_KINDS.get(stat.S_IFMT(mode), "a device")


def _not_regular(path: Path, mode: int) -> str:
    return f"{path} is {kind_of(mode)}; expected a regular file or none: move it away"


def _new_file_beside(path: Path) -> tuple[Path, IO[bytes]]:
    """An unfinished file, locked for as long as its writer has it open."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{MARK}")
        file = temporary.open("xb")  # x: what stands there, a link above all, is not opened
        with contextlib.suppress(OSError):  # some file systems have no locks: what is left there stays
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # another process removed it before it was locked


def _remove_if_abandoned(path: Path) -> None:
    descriptor = open_regular(path, os.O_RDWR)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    finally:
        os.close(descriptor)
