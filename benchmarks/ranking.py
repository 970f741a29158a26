"""Do the attacks of the evaluation rank published cells alike, and is AutoAttack the strongest of them?

    python benchmarks/ranking.py --images /data/cifar10 --name "CIFAR-10 (JPEG copy)"
    python benchmarks/ranking.py --cells DARTS_V2 RACL --base data.test_limit=60    # the digits

Each cell is trained from scratch by one recipe, with one seed or several, with the channels that come nearest to one
number of parameters, and attacked on the same test images. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import record

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation.accuracy import CLEAN, Accuracy, wilson_interval
from pipeline.presentation.words import recipe_in_words
from pipeline.report.figures import accuracy_picture
from pipeline.studies.retrain_and_evaluate import retrain_and_evaluate
from pipeline.studies.work import seeded, seeds
from search_space import PUBLISHED

ATTACKS = ("pgd-20", "pgd-100", "autoattack")  # from the weakest to the strongest
CELLS = ("DARTS_V2", "PC_DARTS_cifar", "RACL")
BASE = ("weight_optimizer=sgd_demo", "recipe=pgd_at", f"evaluate.attacks=[{','.join(ATTACKS)}]", "fabric.threads=1")
SMALL = (
    "retrain.parameters=8000",
    "retrain.layers=3",
    "retrain.batch_size=50",
    "retrain.auxiliary_weight=0",
    "retrain.drop_path=0",
)
DIGITS = ("data=digits", "attack.eps=0.1", "retrain.attack.steps=3", "retrain.epochs=10", "retrain.select_every=5")
CIFAR = (
    "data=cifar10",
    "data.cutout=0",
    "data.crop_padding=0",
    "data.limit=1000",
    "data.test_limit=100",
    "retrain.attack.steps=2",
    "retrain.attack.step=5/255",
    "retrain.epochs=8",
    "retrain.select_every=4",
)
Results = Mapping[str, Mapping[str, Accuracy]]
"""By cell, then by attack."""
Trainings = Mapping[str, Mapping[str, Sequence[Accuracy]]]
"""The same, of each training."""


def measured(
    cells: Sequence[str], overrides: Sequence[str], folder: Path, count: int
) -> tuple[Trainings, dict[str, int]]:
    """Accuracies of each cell after each of `count` trainings, and its parameters."""
    experiment = compose_experiment(overrides)
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    trainings: dict[str, dict[str, list[Accuracy]]] = {cell: {} for cell in cells}
    parameters: dict[str, int] = {}
    for cell, by_attack in trainings.items():
        for seed in seeds(experiment, count):
            run, genotype = folder / cell / f"seed{seed}", PUBLISHED[cell].genotype
            rows, cost = retrain_and_evaluate(run, seeded(experiment, seed), data, fabric, name=cell, genotype=genotype)
            for row in rows:
                by_attack.setdefault(row.attack, []).append(row)
            parameters[cell] = cost["parameters"]
            print(cell, seed, *(f"{row.attack} {row.accuracy:.1%}" for row in rows), flush=True)
    return trainings, parameters


def means(trainings: Trainings) -> Results:
    """Over the trainings of each cell, with the interval of one of them, as all met the same test images."""
    return {cell: {attack: _mean(rows) for attack, rows in by.items()} for cell, by in trainings.items()}


def _mean(rows: Sequence[Accuracy]) -> Accuracy:
    right, images = sum(row.right for row in rows), sum(row.images for row in rows)
    low, high = wilson_interval(round(right / len(rows)), rows[0].images)
    figures = {"right": right, "images": images, "accuracy": right / images, "low": low, "high": high}
    return replace(rows[0], **figures, right_by_class=())


def is_strongest(rows: Mapping[str, Accuracy]) -> bool:
    """Whether no other attack leaves less accuracy than the last of ATTACKS."""
    return rows[ATTACKS[-1]].right == min(row.right for row in rows.values())


def contradictions(results: Results) -> list[tuple[str, str, str, str]]:
    """Pairs of cells that two attacks order in opposite ways: (cell, cell, attack, attack); a tie opposes nothing."""
    return [
        (first, second, *attacks)
        for first, second in combinations(results, 2)
        for attacks in combinations(ATTACKS, 2)
        if _lead(results, first, second, attacks[0]) * _lead(results, first, second, attacks[1]) < 0
    ]


def may_be_chance(results: Results, first: str, second: str) -> bool:
    """Whether the intervals of two cells overlap under every attack."""
    pairs = [(results[first][attack], results[second][attack]) for attack in ATTACKS]
    return all(one.low <= other.high and other.low <= one.high for one, other in pairs)


def apart(results: Results, attack: str) -> list[bool]:
    """For neighbours in the ranking under an attack, whether their intervals are disjoint."""
    ranked = sorted((rows[attack] for rows in results.values()), key=lambda row: -row.accuracy)
    return [worse.high < better.low for better, worse in pairwise(ranked)]


def _lead(results: Results, first: str, second: str, attack: str) -> int:
    return results[first][attack].right - results[second][attack].right


def report(trainings: Trainings, parameters: Mapping[str, int], where: str) -> str:
    """The table, and what it says."""
    results = means(trainings)
    rows = [
        [cell, f"{parameters[cell]:,}", *(_in_percent(results[cell][name], found[name]) for name in (CLEAN, *ATTACKS))]
        for cell, found in trainings.items()
    ]
    header = ("cell", "parameters", CLEAN, *ATTACKS)
    return "\n\n".join([where, record.table(header, rows), *_sentences(results)])


def where(overrides: Sequence[str], trainings: int) -> str:
    """What was trained, and on what."""
    experiment = compose_experiment(overrides)
    data, recipe = experiment.data, experiment.retrain
    name = data.name or data.path or data.source
    of = "one training" if trainings == 1 else f"mean of {trainings} trainings, ± their deviation,"
    return (
        f"{name}, {data.limit or 'all'} training and {data.test_limit or 'all'} test images; {recipe.layers} cells, "
        f"{recipe.epochs} epochs {recipe_in_words(recipe.model_dump())}, eps {experiment.evaluate.eps:.4g}, first seed "
        f"{experiment.seed}. Accuracy in %: {of} and the 95 % Wilson interval, which holds the chance of the test "
        "images alone."
    )


def _in_percent(mean: Accuracy, rows: Sequence[Accuracy]) -> str:
    spread = f" ± {100 * statistics.stdev(row.accuracy for row in rows):.1f}" if len(rows) > 1 else ""
    return f"{100 * mean.accuracy:.1f}{spread} ({100 * mean.low:.1f} to {100 * mean.high:.1f})"


def _sentences(results: Results) -> list[str]:
    strongest = all(is_strongest(rows) for rows in results.values())
    opposed = contradictions(results)
    said = "; ".join(
        f"{a} and {b} change places from {one} to {other}"
        + (", within their intervals" if may_be_chance(results, a, b) else "")
        for a, b, one, other in opposed
    )
    disjoint = apart(results, ATTACKS[-1])
    return [
        f"{ATTACKS[-1]} leaves the least accuracy of every cell: {'yes' if strongest else 'NO'}.",
        f"The attacks rank the cells alike: {'NO, ' + said if opposed else 'yes'}.",
        f"Of {len(disjoint)} neighbours in the ranking under {ATTACKS[-1]}, {sum(disjoint)} have disjoint 95 % Wilson "
        "intervals; the order of the others may be chance.",
    ]


def main() -> None:
    """Train, attack, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a local folder of images, instead of the digits")
    parser.add_argument("--name", help="what results call these images")
    parser.add_argument("--cells", nargs="+", choices=PUBLISHED, default=list(CELLS), metavar="CELL")
    parser.add_argument("--trainings", type=int, default=1, help="of each cell, with seeds one after the other")
    parser.add_argument("--base", nargs="+", default=[], help="further overrides")
    parser.add_argument("--runs", type=Path, default=Path("runs/ranking"))
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    images = DIGITS if arguments.images is None else (*CIFAR, f"data.path={arguments.images}")
    named = [] if arguments.name is None else [f"data.name='{arguments.name}'"]
    overrides = [*BASE, *SMALL, *images, *named, *arguments.base]
    which = "digits" if arguments.images is None else arguments.images.name
    trainings, parameters = measured(arguments.cells, overrides, arguments.runs / which, arguments.trainings)
    text = report(trainings, parameters, where(overrides, arguments.trainings))
    picture = accuracy_picture({cell: list(rows.values()) for cell, rows in means(trainings).items()})
    picture = replace(picture, name=f"ranking_{which}")
    record.write(
        f"ranking_{which}", "Published cells under attacks of rising strength", text, [picture], arguments.results
    )


if __name__ == "__main__":
    main()
