"""Do the attacks of the evaluation rank published cells alike, and is AutoAttack the strongest of them?

    python benchmarks/ranking.py --images /data/cifar10 --name "CIFAR-10 (JPEG copy)"
    python benchmarks/ranking.py --cells DARTS_V2 RACL --base data.test_limit=60    # the digits

Each cell is trained from scratch under PGD by one recipe, with the channels that come nearest to one number of
parameters, and attacked on the same test images. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import record

from pipeline.accuracy import CLEAN, Accuracy
from pipeline.data import load
from pipeline.evaluate import retrain_and_evaluate
from pipeline.figures import accuracy_picture
from pipeline.run import make_fabric
from pipeline.wording import recipe_in_words
from search_space import PUBLISHED

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
from _app import compose_experiment

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


def measured(cells: Sequence[str], overrides: Sequence[str], folder: Path) -> tuple[Results, dict[str, int]]:
    """Accuracies of each cell after training, and its parameters."""
    experiment = compose_experiment(overrides)
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    results, parameters = {}, {}
    for cell in cells:
        genotype = PUBLISHED[cell].genotype
        rows, cost = retrain_and_evaluate(folder / cell, experiment, data, fabric, name=cell, genotype=genotype)
        results[cell] = {row.attack: row for row in rows}
        parameters[cell] = cost["parameters"]
        print(cell, *(f"{row.attack} {row.accuracy:.1%}" for row in rows), flush=True)
    return results, parameters


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


def report(results: Results, parameters: Mapping[str, int], where: str) -> str:
    """The table, and what it says."""
    rows = [
        [cell, f"{parameters[cell]:,}", *(_in_percent(found[attack]) for attack in (CLEAN, *ATTACKS))]
        for cell, found in results.items()
    ]
    header = ("cell", "parameters", CLEAN, *ATTACKS)
    return "\n\n".join([where, record.table(header, rows), *_sentences(results)])


def where(overrides: Sequence[str]) -> str:
    """What was trained, and on what."""
    experiment = compose_experiment(overrides)
    data, recipe = experiment.data, experiment.retrain
    name = data.name or data.path or data.source
    return (
        f"{name}, {data.limit or 'all'} training and {data.test_limit or 'all'} test images; {recipe.layers} cells, "
        f"{recipe.epochs} epochs {recipe_in_words(recipe.model_dump())}, eps {experiment.evaluate.eps:.4g}, seed "
        f"{experiment.seed}. Accuracy in %, with the 95 % Wilson interval, which holds the chance of the test images "
        "alone: each cell was trained once."
    )


def _in_percent(row: Accuracy) -> str:
    return f"{100 * row.accuracy:.1f} ({100 * row.low:.1f} to {100 * row.high:.1f})"


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
    parser.add_argument("--base", nargs="+", default=[], help="further overrides")
    parser.add_argument("--runs", type=Path, default=Path("runs/ranking"))
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    images = DIGITS if arguments.images is None else (*CIFAR, f"data.path={arguments.images}")
    named = [] if arguments.name is None else [f"data.name='{arguments.name}'"]
    overrides = [*BASE, *SMALL, *images, *named, *arguments.base]
    which = "digits" if arguments.images is None else arguments.images.name
    results, parameters = measured(arguments.cells, overrides, arguments.runs / which)
    picture = accuracy_picture({cell: list(rows.values()) for cell, rows in results.items()})
    text = report(results, parameters, where(overrides))
    picture = replace(picture, name=f"ranking_{which}")
    record.write(
        f"ranking_{which}", "Published cells under attacks of rising strength", text, [picture], arguments.results
    )


if __name__ == "__main__":
    main()
