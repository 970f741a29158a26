"""Train the network of a searched or published cell."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from pipeline.compute.fabric import make_fabric
from pipeline.compute.ranks import launch
from pipeline.data import load
from pipeline.networks.genotype_reference import cell_of
from pipeline.settings import Experiment
from pipeline.training.retrain import retrain


def main(experiment: Experiment) -> float:
    """Retrain, and say what the network is. -> accuracy on the held-back images, by which the checkpoint was chosen."""
    name, genotype = cell_of(Path(experiment.run), experiment.genotype)
    fabric = make_fabric(experiment.fabric)
    data = load(experiment.data)
    launch(fabric)
    folder = Path(experiment.run)
    description = retrain(folder, experiment, data, fabric, name=name, genotype=genotype)
    if fabric.is_global_zero:
        cost, training = description.cost(), description.training
        show(
            f"{folder / 'network.safetensors'}: {cost['parameters']:,} parameters, {cost['conv_linear_macs']:,} MACs; "
            f"{training['held_back_accuracy']:.1%} on the held-back images, epoch {training['best_epoch']}; "
            f"{training['held_back']['last']['accuracy']:.1%} after the last, {training['held_back']['last']['epoch']}"
        )
        if training["overfitted_in_epoch"] is not None:
            show(f"  catastrophic overfitting was found first in epoch {training['overfitted_in_epoch']}")
    return float(description.training["held_back_accuracy"])
