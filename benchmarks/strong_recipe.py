"""What averaged weights and smoothed labels do to one network: accuracy without and under attack, by seed.

    python benchmarks/strong_recipe.py                                          # digits; minutes on one core
    python benchmarks/strong_recipe.py --data cifar10 --overrides data.path=cifar10 data.name='CIFAR-10 (JPEG copy)'

The network is the ResNet that every comparison has as its control, trained by the recipe of `experiment=comparison` or,
in more and shorter epochs, `comparison_cifar10`. Chosen before anything was measured, after the PGD-AT of the FastAT
benchmark (Pan & Yao 2026): a mean over about a twentieth of the steps, and labels smoothed by 0.4.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import record

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation.accuracy import CLEAN
from pipeline.runs.progress import silently
from pipeline.settings import Experiment
from pipeline.studies.comparison.comparison_report import data_name
from pipeline.studies.retrain_and_evaluate import retrain_and_evaluate
from search_space.cells.resnet import BASIC_BLOCK, resnet_layers

ATTACK, DEPTH, SMOOTHING = "pgd-20", 8, 0.4
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "digits": ("experiment=comparison", "retrain.parameters=24000"),
    "cifar10": (
        "experiment=comparison_cifar10",
        "retrain.parameters=29000",
        "data.limit=2000",
        "data.test_limit=400",
        "retrain.epochs=4",
    ),
}
DECAY = {"digits": 0.9, "cifar10": 0.92}
"""1 / (1 - d) is a twentieth of the steps, of which there are 168 and 236."""


def variants(data: str) -> dict[str, tuple[str, ...]]:
    """Overrides of each way to train."""
    averaged, smoothed = f"retrain.average_decay={DECAY[data]}", f"retrain.label_smoothing={SMOOTHING}"
    without = ("retrain.average_decay=0",)
    return {
        "neither": without,
        "averaged weights": (averaged,),
        "smoothed labels": (*without, smoothed),
        "both": (averaged, smoothed),
    }


def composed(data: str, overrides: Sequence[str]) -> Experiment:
    """The settings of a training."""
    network = f"retrain.layers={resnet_layers(DEPTH)}"
    return compose_experiment([*SETTINGS[data], network, f"evaluate.attacks=[{ATTACK}]", *overrides])


def measured(experiment: Experiment) -> dict[str, float]:
    """Train in a folder of its own; accuracies on the test images, in per cent, by attack."""
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    with tempfile.TemporaryDirectory() as folder, silently():
        name = f"ResNet-{DEPTH}"
        found, _ = retrain_and_evaluate(Path(folder), experiment, data, fabric, name=name, genotype=BASIC_BLOCK)
    return {result.attack: 100 * result.accuracy for result in found}


def row(name: str, runs: Sequence[dict[str, float]], plain: Sequence[dict[str, float]]) -> list[str]:
    """A line of the table: means over seeds with the value of each, and by seed what is gained over `plain`."""
    cells = [name]
    for attack in (CLEAN, ATTACK):
        values = [run[attack] for run in runs]
        cells.append(f"{statistics.fmean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})")
    gains = [run[ATTACK] - other[ATTACK] for run, other in zip(runs, plain, strict=True)]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return [*cells, f"{statistics.fmean(gains):+.1f} ± {error:.1f}" if runs is not plain else "-"]


def main() -> None:
    """Print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SETTINGS, default="digits")
    parser.add_argument("--seeds", nargs="+", type=int, default=[500, 501, 502])
    parser.add_argument("--overrides", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    rows: list[list[str]] = []
    plain: list[dict[str, float]] = []
    for name, own in variants(arguments.data).items():
        runs = [
            measured(composed(arguments.data, [*own, *arguments.overrides, f"seed={seed}"])) for seed in arguments.seeds
        ]
        plain = plain or runs
        rows.append(row(name, runs, plain))
        print(*rows[-1], sep=" | ", flush=True)
    experiment = composed(arguments.data, arguments.overrides)
    header = ("trained with", "clean, %", f"{ATTACK}, %", "gain under attack, points")
    text = (
        f"ResNet-{DEPTH} of about {experiment.retrain.parameters:,} parameters on {data_name(experiment)}, "
        f"{experiment.data.limit} images, {experiment.retrain.epochs} epochs; Linf eps {experiment.evaluate.eps:.3g}. "
        f"Averaged: retrain.average_decay={DECAY[arguments.data]}; smoothed: retrain.label_smoothing={SMOOTHING}. "
        f"Accuracies on the test images: mean (seeds {', '.join(map(str, arguments.seeds))}). Gain: over neither, by "
        f"seed, ± its standard error.\n\n{record.table(header, rows)}"
    )
    name = f"strong_recipe_{arguments.data}"
    record.write(name, f"Averaged weights and smoothed labels: {data_name(experiment)}", text, (), arguments.results)


if __name__ == "__main__":
    main()
