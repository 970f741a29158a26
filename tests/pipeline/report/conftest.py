"""A run folder with a network, and its evaluation through the script."""

import pytest

from tests.support.cells.genotypes import SMALL_GENOTYPE
from tests.support.runs.exported import write_network
from tests.support.runs.protocols import SMALL


@pytest.fixture
def run(tmp_path):
    """A run folder with a network of the digits."""
    write_network(tmp_path / "run", SMALL_GENOTYPE)
    return tmp_path / "run"


@pytest.fixture
def evaluate(call_script, run):
    def call(*overrides):
        status, out, err = call_script("evaluate", *SMALL, f"run={run}", *overrides)
        assert status == 0, err
        return out

    return call
