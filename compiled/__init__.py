"""What the packages with compiled code have in common: how it is found, and how structures are handed to it."""

from __future__ import annotations

import ctypes
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

POINTER, INT = ctypes.c_void_p, ctypes.c_int
SWITCH = "E2RNAS_COMPILED"  # environment variable; 0 leaves everything to PyTorch
APART = 60.0  # seconds between the files that one installation writes, at most


def load_library(module: str) -> ctypes.CDLL | None:
    """The library that was built as a module of that name.

    None where the project was installed without a C++ compiler, or where E2RNAS_COMPILED=0. None and a warning where
    its sources have changed since, as after an update of the checkout: structures would be read as they were.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None or os.environ.get(SWITCH) == "0":
        return None
    if _is_outdated(Path(spec.origin)):
        advice = "install the project again, such as by `pip install -e .`; until then PyTorch does the work"
        warnings.warn(f"{spec.origin} was compiled before its sources changed: {advice}", stacklevel=2)
        return None
    return ctypes.CDLL(spec.origin)


def _is_outdated(library: Path) -> bool:
    folders = library.parent, Path(__file__).parent  # its own sources, and those that all compiled code includes
    sources = [path for folder in folders for path in folder.iterdir() if path.suffix in (".cpp", ".h", ".inl")]
    return any(path.stat().st_mtime > library.stat().st_mtime + APART for path in sources)


def fields(pointers: str = "", integers: str = "") -> list[tuple[str, Any]]:
    """Make the fields of a ctypes.Structure, by names with spaces between them: integers, then pointers."""
    return [*((name, INT) for name in integers.split()), *((name, POINTER) for name in pointers.split())]
