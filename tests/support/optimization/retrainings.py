"""Small networks, trained by a recipe and compared."""

import torch
from torch import nn


def small_network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)]
    return nn.Sequential(*layers)


def trained(retraining, epochs=1):
    for _ in range(epochs):
        retraining.start_epoch()
        for images, labels in retraining.batches():
            retraining.step(images, labels)
            retraining.end_step()
    return {name: tensor.clone() for name, tensor in retraining.network.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
