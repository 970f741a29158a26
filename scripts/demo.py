"""The whole way on small real images: python scripts/demo.py. The same stages and files as the other scripts."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _app import run_app

from pipeline import report
from pipeline.artifacts import load_network
from pipeline.data import load
from pipeline.evaluate import check_retrain_and_evaluate, evaluate
from pipeline.export import export, find, forms_of
from pipeline.exports.graph import check_onnx_installed
from pipeline.retrain import retrain
from pipeline.run import make_fabric
from pipeline.search import search
from pipeline.settings import Experiment
from search_space import PUBLISHED, network_cost

RIVAL = "DARTS_V2"


def main(experiment: Experiment) -> None:
    """Search; then retrain and evaluate the cell, and beside it a published one of the same size; export and report."""
    check_onnx_installed()
    fabric, data = make_fabric(experiment.fabric), load(experiment.data)
    folder = Path(experiment.run)
    check_retrain_and_evaluate(experiment, data, fabric, PUBLISHED[RIVAL].genotype)
    rival = folder.with_name(f"{folder.name}-{RIVAL}")
    genotype = search(folder, experiment, data, fabric)
    retrained = experiment.retrain
    size = network_cost(
        genotype,
        channels=retrained.channels,
        layers=retrained.layers,
        num_classes=data.num_classes,
        image_size=data.image_size,
        in_channels=data.in_channels,
    ).parameters
    with ThreadPoolExecutor(1) as beside:
        print(f"{RIVAL} is trained and evaluated meanwhile, in processes of its own")
        rival_output = beside.submit(run_scripts, f"run={rival}", f"genotype={RIVAL}", f"retrain.parameters={size}")
        retrain(folder, experiment, data, fabric, name="searched", genotype=genotype)
        trained = load_network(folder)
        evaluate(folder, experiment, data, fabric, trained)
        rival_output.result()
    exported = find(folder, None)
    export(folder, experiment, exported, forms_of(experiment.export.formats, exported), data.test)
    report.write(folder, [rival])
    print(report.table([folder, rival]))
    for name in (
        "report.html",
        "genotype.json",
        "normal.svg",
        "network.safetensors",
        "network.onnx",
        "model_card.md",
        "robustness.json",
    ):
        print(folder / name)


def run_scripts(*overrides: str) -> None:
    """Retrain and evaluate, one after the other, as a user would, with this script's overrides and some more."""
    for name in ("retrain", "evaluate"):
        script = Path(__file__).with_name(f"{name}.py")
        done = subprocess.run(  # noqa: S603 - our own scripts
            [sys.executable, str(script), *sys.argv[1:], *overrides], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ValueError(f"{name}.py {' '.join(overrides)} failed:\n{done.stderr}")


if __name__ == "__main__":
    run_app(
        main,
        "Search, retrain, evaluate, export and report on scikit-learn's digits.",
        "experiment=demo",
        one_process=True,
        when_out_of_memory="lower search.batch_size or retrain.batch_size",
    )
