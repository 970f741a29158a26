"""The examples of docstrings run and print what they say; those of e2rnas run in tests/e2rnas/test_python_api.py."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("analytic_continuation", "attacks", "learned_optimizers", "mgda", "pipeline", "search_space")
FILES = [
    path.relative_to(ROOT)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if re.search(r"^ *>>> ", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_documented_examples_run(path):
    found = doctest.testmod(importlib.import_module(".".join(path.with_suffix("").parts)))
    assert found.attempted
    assert found.failed == 0


def test_there_are_examples_to_run():
    assert len([path for path in FILES if path.parts[0] == "analytic_continuation"]) > 5
    assert {path.parts[0] for path in FILES} >= {"learned_optimizers", "pipeline", "search_space"}
