"""Where a user's own module is found, and when the current folder may be looked into for it."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def let_be_found(reference: str) -> str | None:
    """Let the module of `package.module:factory` be imported; the file whose code that runs, None where there is none.

    The current folder is looked into last, and only for a module that is found nowhere else: it may be a run that was
    downloaded, whose files would be taken for packages that a library asks for. Nothing is run.
    """
    module, _, _ = reference.partition(":")
    top, *parts = module.split(".")
    if not top.isidentifier():
        return None
    spec, here = _known(top), str(Path.cwd())
    if spec is None:
        spec = PathFinder.find_spec(top, [here])
        if spec is not None and here not in sys.path:
            sys.path.append(here)
    for depth, _ in enumerate(parts, 1):
        places = None if spec is None else spec.submodule_search_locations
        spec = None if places is None else PathFinder.find_spec(".".join([top, *parts[:depth]]), places)
    return None if spec is None or not spec.has_location else spec.origin


def _known(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # of a module that is running without one, such as __main__
        return None
