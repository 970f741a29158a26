"""Contents of an export folder, by name."""

import torch

from pipeline.data import load
from pipeline.evaluation.accuracy import Accuracy
from pipeline.settings import Experiment
from search_space import Cell, Edge, Genotype
from tests.support.runs.folders import write_robustness

EVERYTHING = ("json", "darts", "fair_darts", "svg", "safetensors", "onnx", "torch_export")


CLEAN = Accuracy("clean", {}, 38, 40, 0.95, 0.835, 0.986, 1.0)


ATTACKED = Accuracy("pgd-20", {"norm": "Linf", "eps": 8 / 255}, 30, 40, 0.75, 0.598, 0.858, 1.0)


def write_figures(folder, description, checks):
    """robustness.json, measured on the network in the folder."""
    write_robustness(folder, description, [CLEAN, ATTACKED], checks=checks)


def load_test():
    return load(Experiment().data).test


def logits(network, images):
    with torch.no_grad():
        return network(images)


def listing(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


NOISE = Genotype(*[Cell(((Edge("skip_connect", 0), Edge("noise", 1)),), (2,))] * 2)
