"""A small network, a batch and retrainings that the tests of recipes share."""

import pytest
import torch

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.training.network_trainer import Retraining
from tests.support.cells.genotypes import SMALL_GENOTYPE
from tests.support.optimization.retrainings import small_network
from tests.support.scripts import TINY


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def batch():
    torch.manual_seed(1)
    images = torch.rand(12, 1, 8, 8)
    return images, (images + 0.1 * torch.randn_like(images)).clamp(0, 1), torch.randint(0, 10, (12,))


@pytest.fixture(scope="module")
def retraining():
    """A retraining of a tiny network on digits, by overrides."""

    def make(*overrides):
        experiment = compose_experiment([*TINY, "retrain.auxiliary_weight=0", *overrides])
        return Retraining(experiment, load(experiment.data), make_fabric(experiment.fabric), SMALL_GENOTYPE)

    return make
