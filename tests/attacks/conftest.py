"""What is attacked: a network that has learned the digits, and some that it has not seen."""

import copy

import pytest
from torch import Tensor, nn

from tests.support.images.digits_network import digits, trained_network


@pytest.fixture(scope="session")
def trained() -> nn.Sequential:
    return trained_network()


@pytest.fixture
def model(trained: nn.Sequential) -> nn.Sequential:
    return copy.deepcopy(trained)


@pytest.fixture(scope="session")
def batch() -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return images[1400:1432], labels[1400:1432]
