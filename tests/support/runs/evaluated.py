"""Factories of modules."""

from pipeline.data import as_float, load
from pipeline.settings import DataSettings
from tests.support.scripts import TINY

THEIRS = (*TINY, "data.limit=null", "evaluate.model=their_models:fitted")


FACTORIES = """
import torch
from torch import nn

class Linear(nn.Module):
    def __init__(self, scale=1.0, classes=10):
        super().__init__()
        self.layer = nn.Linear(64, classes)
        self.scale = scale

    def forward(self, images):
        return self.scale * self.layer(images.flatten(1))

def fitted(scale=1.0):
    import safetensors.torch
    module = Linear(scale)
    safetensors.torch.load_model(module, WEIGHTS)
    return module

def mirrored():  # right on images turned around
    module = fitted()
    module.layer.weight.data = module.layer.weight.data.flip(1)
    return module

def broken():
    raise KeyError("no such thing")

def number():
    return 3

answer = 42
"""


def images_of(part):
    images = getattr(load(DataSettings(test_limit=40)), part)
    return as_float(images.images), images.labels
