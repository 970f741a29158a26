"""What was exported once, for all tests of this folder."""

import pytest
import torch

from attacks import evaluation_attack
from pipeline.export.export import export, find, forms_of
from pipeline.networks.network_files import load_network
from pipeline.settings import Experiment
from tests.support.cells.genotypes import SMALL_GENOTYPE
from tests.support.runs.exported import write_network
from tests.support.runs.exported_files import EVERYTHING, load_test, write_figures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with everything exported."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    description = write_network(folder, SMALL_GENOTYPE)
    write_figures(folder, description, None)
    exported = find(folder, None)
    export(folder, Experiment(export={"images": 40}), exported, forms_of(EVERYTHING, exported), load_test())
    return folder


@pytest.fixture(scope="module")
def images(folder):
    """Clean digits, and as PGD leaves them."""
    network = load_network(folder).network
    clean, labels = next(load_test().batches(256))
    return torch.cat([clean[:20], evaluation_attack("pgd-20", network, eps=0.1)(clean[:20], labels[:20])])
