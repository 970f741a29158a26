"""A small network of the digits in a run folder, without training: what the tests of files begin with."""

import json
from functools import cache

import torch

from pipeline.data import load
from pipeline.networks.description import NetworkDescription
from pipeline.networks.network_files import save_network
from pipeline.settings import DataSettings
from search_space import PUBLISHED

JUDGED = {"epoch": 1, "accuracy": 0.5, "clean": 0.6, "trained": None}
TRAINING = {
    "settings": {"seed": 0, "retrain": {"epochs": 1, "attack": {"eps": 8 / 255}}},
    "best_epoch": 1,
    "held_back_accuracy": 0.5,
    "held_back": {"best": JUDGED, "last": JUDGED, "gap": 0.0},
    "seconds": 3.0,
    "environment": {"processor": "a processor", "threads": 1, "system": "somewhere"},
}
DARTS_V2 = PUBLISHED["DARTS_V2"].genotype


@cache
def _digits():
    """The digits, with their mean and deviation, read once for all networks."""
    data = load(DataSettings())
    return data, *data.statistics()


def describe(genotype=DARTS_V2, **changes):
    """The description of its network for the digits."""
    data, mean, std = _digits()
    content = {
        "name": "mine",
        "genotype": json_of(genotype),
        "channels": 4,
        "layers": 3,
        "in_channels": 1,
        "image_size": 8,
        "mean": tuple(mean),
        "std": tuple(std),
        "class_names": data.class_names,
        "data": data.name,
        "training": TRAINING,
    }
    return NetworkDescription.model_validate(content | changes)


def json_of(genotype):
    return json.loads(genotype.to_json())


def write_network(folder, genotype=DARTS_V2, **changes):
    """Write network.safetensors and network.json of a network with random weights and BatchNorm statistics."""
    description = describe(genotype, **changes)
    torch.manual_seed(0)
    network = description.build()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    folder.mkdir(parents=True, exist_ok=True)
    return save_network(folder, network, description)
