"""Retraining and evaluation of one cell in a folder of its own, which every study asks for."""

from __future__ import annotations

from pathlib import Path

from lightning_fabric import Fabric

from pipeline.data import ImageData
from pipeline.evaluation.accuracy import Accuracy
from pipeline.evaluation.evaluate import evaluate, tested
from pipeline.evaluation.evaluation_plan import planned
from pipeline.evaluation.probing import Probed
from pipeline.networks.network_files import load_network
from pipeline.settings import Experiment
from pipeline.training.network_trainer import Retraining
from pipeline.training.retrain import retrain
from search_space import Genotype


def retrain_and_evaluate(
    folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, *, name: str, genotype: Genotype
) -> tuple[list[Accuracy], dict[str, int]]:
    """Run both stages in a run folder, or read what they left there: the accuracies, and the network's cost."""
    retrain(folder, experiment, data, fabric, name=name, genotype=genotype)
    trained = load_network(folder)
    return evaluate(folder, experiment, data, fabric, trained), trained.description.cost()


def check_retrain_and_evaluate(experiment: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype) -> None:
    """Raise ValueError for what either stage would refuse, before those that come first have done their work."""
    tested(data, experiment.evaluate.images)
    planned(Probed(Retraining(experiment, data, fabric, genotype).network), experiment, data, fabric)
