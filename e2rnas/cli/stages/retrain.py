"""Train the network of a searched or published cell."""

from __future__ import annotations

from e2rnas.cli.output import show
from e2rnas.stages import retrain_cell
from pipeline.settings import Experiment


def main(experiment: Experiment) -> float:
    """Retrain, and say what the network is. -> accuracy on the held-back images, by which the checkpoint was chosen."""
    context, description = retrain_cell(experiment)
    if context.fabric.is_global_zero:
        first, *more = str(description).split("\n")
        show(f"{context.folder / 'network.safetensors'}: {first}", *more)
    return float(description.training["held_back_accuracy"])
