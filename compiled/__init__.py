"""What the packages with compiled code have in common: how it is found, and how structures are handed to it."""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec
from typing import Any

POINTER, INT = ctypes.c_void_p, ctypes.c_int
SWITCH = "E2RNAS_COMPILED"  # environment variable; 0 leaves everything to PyTorch


def load_library(module: str) -> ctypes.CDLL | None:
    """The library that was built as a module of that name.

    None where the project was installed without a C++ compiler, or where E2RNAS_COMPILED=0.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None or os.environ.get(SWITCH) == "0":
        return None
    return ctypes.CDLL(spec.origin)


def fields(pointers: str = "", integers: str = "") -> list[tuple[str, Any]]:
    """Make the fields of a ctypes.Structure, by names with spaces between them: integers, then pointers."""
    return [*((name, INT) for name in integers.split()), *((name, POINTER) for name in pointers.split())]
