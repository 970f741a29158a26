"""The examples of the package's docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import analytic_continuation

MODULES = [
    module.name
    for module in pkgutil.walk_packages(analytic_continuation.__path__, "analytic_continuation.")
    if not module.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_documented_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_to_run():
    found = [importlib.import_module(name) for name in MODULES]
    assert sum(len(doctest.DocTestFinder().find(module)) > 0 for module in found) > 5
