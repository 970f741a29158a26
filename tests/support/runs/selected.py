"""Tiny searches that end with a choice between cells."""

import json

from tests.support.scripts import TINY, finish_script

SELECTION = ("search.selection.candidates=3", "search.selection.epochs=1", "search.epochs=1")


def searched(folder, overrides):
    """The run folder, after a tiny search."""
    finish_script("search", *TINY, *overrides, f"run={folder}")
    return folder


def choice(folder):
    return json.loads((folder / "search.json").read_text())["selection"]
