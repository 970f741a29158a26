"""Measure a network under attack: python scripts/evaluate.py run=runs/mine evaluate.attacks=[pgd-20,autoattack]."""

from __future__ import annotations

from pathlib import Path

from _app import run_app

from pipeline.artifacts import load_network
from pipeline.data import load
from pipeline.evaluate import evaluate
from pipeline.run import make_fabric
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Evaluate, and print the figures."""
    folder = Path(experiment.run)
    trained = load_network(folder)
    fabric = make_fabric(experiment.fabric)
    data = load(experiment.data)
    for result in evaluate(folder, experiment, data, fabric, trained):
        interval = f"[{result.low:.1%}, {result.high:.1%}]"
        print(
            f"{result.attack:>10}  {result.accuracy:6.1%}  {interval}  {result.images} images, {result.seconds:.1f} s"
        )


if __name__ == "__main__":
    run_app(main, "Accuracy of a trained network, clean and under attack, with 95 % intervals.", one_process=True)
