"""The examples of this room's docstrings run and print what they say."""

import doctest

import pytest

from pipeline.continuation import array_files, self_energy


@pytest.mark.parametrize("module", [array_files, self_energy])
def test_documented_examples_run(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert found.failed == 0
