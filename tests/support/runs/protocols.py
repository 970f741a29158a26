"""Protocols as a run folder stores them, and its card."""

import json

from pipeline.export.export import export, find
from pipeline.settings import Experiment

SMALL = (  # each is given, as a run folder remembers what was given before
    "fabric.accelerator=cpu",
    "seed=0",
    "data.test_limit=40",
    "evaluate.attacks=[fgsm]",
    "evaluate.eps=0.1",
    "evaluate.norm=Linf",
    "evaluate.images=null",
    "evaluate.batch_size=250",
)


def stored(folder, name="robustness.json"):
    """The protocols as the file has them, the one last evaluated last."""
    return json.loads((folder / name).read_text())["protocols"]


def card_of(folder):
    export(folder, Experiment(), find(folder, None), ("safetensors",), None)
    return (folder / "model_card.md").read_text()
