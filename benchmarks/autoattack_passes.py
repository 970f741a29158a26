"""Passes of AutoAttack as published and as it is run here, and whether the same images fall.

    python scripts/demo.py
    python benchmarks/autoattack_passes.py --runs runs/demo runs/demo-DARTS_V2

Published: APGD-CE, APGD-T, FAB-T and Square of torchattacks in turn, 100 steps and 5,000 queries, each on what still
stands. Here: the same parts without the passes whose outcome is known. An image that passes forwards counts as one, and
one that passes backwards as one more, on any machine. The first network is a plain one, trained without attacks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import record
import torch
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, CheckedAttack, Passes, counted_passes, evaluation_attack
from e2rnas.cli.app import compose_experiment
from pipeline.data import Images, load
from pipeline.evaluation.evaluate import tested
from pipeline.evaluation.surrogate import train_surrogate
from pipeline.networks.network_files import load_network

HEADER = ("network", "right", "fall, published", "fall, here", "superset", "passes, published", "passes, here", "part")
PARTS_HEADER = ("network", "part", "images", "fall", "passes", "fall in 1,000 passes", "passes, published")


@dataclass(frozen=True)
class Part:
    """One part on the images that stood before it. fallen: bool [N] of all images."""

    name: str
    standing: int
    fallen: Tensor
    passes: Passes


def attacked_in_parts(attack: CheckedAttack, images: Tensor, labels: Tensor) -> list[Part]:
    """Attack images that are classified right with one part after the other."""
    standing, found = torch.ones(len(images), dtype=torch.bool), []
    for stage in attack.stages:
        (name,) = (part.class_name for part in stage.spec.parts)
        fallen = torch.zeros_like(standing)
        with counted_passes(attack.model) as passes:
            attacked = stage(images[standing], labels[standing])
        with torch.no_grad():
            fallen[standing] = attack.model(attacked).argmax(dim=1) != labels[standing]
        found.append(Part(name, int(standing.sum()), fallen, passes))
        standing &= ~fallen
        if not standing.any():
            break
    return found


def fallen_of(parts: Sequence[Part]) -> Tensor:
    """Return which images any part fooled, bool [N]."""
    return torch.stack([part.fallen for part in parts]).any(dim=0)


def passes_of(parts: Sequence[Part]) -> int:
    """Return the passes of all parts."""
    return sum(part.passes.total for part in parts)


@torch.no_grad()
def right_images(network: nn.Module, images: Images) -> tuple[Tensor, Tensor]:
    """Return the images that the network classifies right, with their labels."""
    ((inputs, labels),) = images.batches(len(images))
    right = network(inputs).argmax(dim=1) == labels
    return inputs[right], labels[right]


def compared(
    name: str, network: nn.Module, images: Images, arguments: argparse.Namespace
) -> tuple[list[str], list[list[str]]]:
    """Return the row of a network, and those of its parts."""
    inputs, labels = right_images(network, images)
    budget = replace(EVALUATION_ATTACKS["autoattack"], steps=arguments.steps, queries=arguments.queries)
    attack = evaluation_attack(budget, network, eps=arguments.eps, seed=arguments.seed)
    published = attacked_in_parts(replace(attack, saves_passes=False), inputs, labels)
    here = attacked_in_parts(attack, inputs, labels)
    before, now = fallen_of(published), fallen_of(here)
    row = [
        *(name, str(len(inputs)), str(int(before.sum())), str(int(now.sum()))),
        "yes" if not (before & ~now).any() else f"no, {int((before & ~now).sum())} missed",
        *(f"{passes_of(published):,}", f"{passes_of(here):,}", f"{passes_of(here) / passes_of(published):.2f}"),
    ]
    return row, list(part_rows(name, published, here))


def part_rows(name: str, published: Sequence[Part], here: Sequence[Part]) -> Iterator[list[str]]:
    """Yield a row of each part."""
    before = {part.name: part.passes.total for part in published}
    for part in here:
        fell, passes = int(part.fallen.sum()), part.passes.total
        rate = f"{1000 * fell / max(passes, 1):.2f}"
        yield [name, part.name, str(part.standing), str(fell), f"{passes:,}", rate, f"{before.get(part.name, 0):,}"]


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="run folders with networks for the digits")
    parser.add_argument("--images", type=int, default=60, help="test images, balanced over the classes")
    parser.add_argument("--eps", type=float, default=0.15, help="radius in Linf")
    parser.add_argument("--steps", type=int, default=100, help="of APGD and FAB")
    parser.add_argument("--queries", type=int, default=5000, help="of Square")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=record.RESULTS, help="folder of the record")
    return parser.parse_args()


def main() -> None:
    """Compare on each network, and write the record."""
    arguments = parsed()
    data = load(compose_experiment(["experiment=demo"]).data)
    images = tested(data, arguments.images).kept()
    networks = {"plain network": train_surrogate(data, torch.device("cpu"), arguments.seed)}
    networks |= {run.name: load_network(run).network for run in arguments.runs}
    found = [compared(name, network, images, arguments) for name, network in networks.items()]
    text = "\n\n".join(
        [
            f"{len(images)} test images of the digits, Linf radius {arguments.eps:g}, {arguments.steps} steps, "
            f"{arguments.queries:,} queries, seed {arguments.seed}. Passes: images forwards and images backwards.",
            record.table(HEADER, [row for row, _ in found]),
            "By part, in the order in which they come:",
            record.table(PARTS_HEADER, [row for _, rows in found for row in rows]),
        ]
    )
    record.write("autoattack_passes", "Passes of AutoAttack", text, [], arguments.out)


if __name__ == "__main__":
    main()
