"""The recipes of retraining side by side: one cell on the digits, accuracy without and under attack, and time.

    python benchmarks/recipes.py                             # all recipes, two seeds; some minutes on one core
    python benchmarks/recipes.py --recipes trades --seeds 0
    python benchmarks/recipes.py --overrides retrain.average_decay=0.95

experiment=demo, without its attack settings for retraining: every recipe is trained, and its checkpoint chosen, under
ten steps of eps / 4.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import record

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation.accuracy import CLEAN
from pipeline.options.recipes import RECIPES
from pipeline.runs.progress import silently
from pipeline.studies.retrain_and_evaluate import retrain_and_evaluate
from pipeline.training.retrain import retrain
from search_space import PUBLISHED

ATTACK = "pgd-20"
SETTINGS = (
    "experiment=demo",
    "retrain.attack.steps=10",
    "retrain.attack.step=null",
    "retrain.select_every=1",
    f"evaluate.attacks=[{ATTACK}]",
    "evaluate.images=null",
    "evaluate.checks=false",
    "evaluate.corruptions=[]",
    "evaluate.sweep=[]",
)


@dataclass(frozen=True)
class Measured:
    """One training: test accuracies, its processor seconds, and what the last checkpoint lacks on held-back images."""

    clean: float
    robust: float
    seconds: float
    gap: float


def measured(recipe: str, seed: int, cell: str, overrides: Sequence[str]) -> Measured:
    """Train by a recipe in a folder of its own, and attack the result."""
    experiment = compose_experiment([*SETTINGS, f"recipe={recipe}", f"seed={seed}", *overrides])
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    with tempfile.TemporaryDirectory() as folder, silently():
        genotype = PUBLISHED[cell].genotype
        started = time.process_time()  # others may be at work on the machine
        description = retrain(Path(folder), experiment, data, fabric, name=cell, genotype=genotype)
        seconds = time.process_time() - started
        found, _ = retrain_and_evaluate(Path(folder), experiment, data, fabric, name=cell, genotype=genotype)
    accuracies = {result.attack: result.accuracy for result in found}
    return Measured(accuracies[CLEAN], accuracies[ATTACK], seconds, description.training["held_back"]["gap"])


def row(recipe: str, runs: Sequence[Measured]) -> list[str]:
    """A recipe's line of the table: means over seeds, and the value of each."""

    def figures(of: Callable[[Measured], float], form: str) -> str:
        values = [of(run) for run in runs]
        return f"{statistics.fmean(values):{form}} ({', '.join(f'{value:{form}}' for value in values)})"

    return [
        recipe,
        figures(lambda run: 100 * run.clean, ".1f"),
        figures(lambda run: 100 * run.robust, ".1f"),
        figures(lambda run: 100 * run.gap, ".1f"),
        figures(lambda run: run.seconds, ".0f"),
    ]


def main() -> None:
    """Print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--cell", choices=PUBLISHED, default="DARTS_V2", metavar="NAME")
    parser.add_argument("--overrides", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    rows = []
    for recipe in arguments.recipes:
        runs = [measured(recipe, seed, arguments.cell, arguments.overrides) for seed in arguments.seeds]
        rows.append(row(recipe, runs))
        print(*rows[-1], sep=" | ", flush=True)
    header = ("recipe", "clean, %", f"{ATTACK}, %", "best minus last, points", "seconds")
    experiment = compose_experiment([*SETTINGS, *arguments.overrides])
    text = (
        f"{arguments.cell} with {experiment.retrain.channels} channels and {experiment.retrain.layers} cells, "
        f"{experiment.retrain.epochs} epochs on the digits, Linf eps {experiment.attack.eps:g}. Accuracies on all test "
        f"images: mean (seeds {', '.join(map(str, arguments.seeds))}). Best minus last: accuracy on the held-back "
        "images, under PGD-10 but for standard. Seconds of the processor, for training with its judgements.\n\n"
        + record.table(header, rows)
    )
    record.write("recipes_digits", "Recipes of retraining on the digits", text, (), arguments.results)


if __name__ == "__main__":
    main()
