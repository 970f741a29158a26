"""Searches between random bounds on parameters and MACs at once: is the derived network always inside?

    python benchmarks/bounds.py                     # 20 searches on the digits
    python benchmarks/bounds.py --searches 3

The centres of both bounds are uniform over what can be reached, each bound reaches 5 % to both sides of its centre;
pairs that no cell can meet, which a search refuses, are drawn again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import record
import torch
from matplotlib import rc_context
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.presentation.style import BLUE, GREY, STYLE, VERMILLION, Picture, make_axes, make_picture
from pipeline.presentation.words import magnitude
from pipeline.runs.files import read_json
from pipeline.runs.metrics import read_metrics
from pipeline.search.search import search
from pipeline.studies.comparison.comparison import cost_table
from search_space import CostTable

SMALL = (
    "experiment=comparison",
    *(f"search.selection.{key}" for key in ("pool=null", "candidates=1", "finalists=1")),
)
SHORT = ("search.epochs=10", "search.warm_up=1", "search.diagnostics.iterations=0")
REACH = 0.05  # of a bound to each side of its centre
QUANTITIES = {"parameters": "parameters", "macs": "conv_linear_macs"}


@dataclass(frozen=True)
class Outcome:
    """Bounds and sizes by name of the objective. last: of the cell that the alphas gave after the last step."""

    bounds: dict[str, tuple[int, int]]
    last: dict[str, int]
    found: dict[str, int]

    def is_inside(self, sizes: dict[str, int]) -> bool:
        """Whether sizes keep both bounds."""
        return all(low <= sizes[name] <= high for name, (low, high) in self.bounds.items())


def reachable(table: CostTable) -> dict[str, tuple[int, int]]:
    """Smallest and largest size of the space's networks, by name of the objective."""
    return {name: table.reachable(quantity) for name, quantity in QUANTITIES.items()}


def attainable_bounds(table: CostTable, generator: torch.Generator) -> Iterator[tuple[dict[str, tuple[int, int]], int]]:
    """Random bounds that some cell meets, and how many pairs were drawn until then."""
    drawn = 0
    ranges = reachable(table)
    while True:
        drawn += 1
        bounds = {}
        for name, (low, high) in ranges.items():
            centre = low + (high - low) * torch.rand((), generator=generator).item()
            bounds[name] = (round((1 - REACH) * centre), round((1 + REACH) * centre))
        if table.attainable({QUANTITIES[name]: bound for name, bound in bounds.items()}):
            yield bounds, drawn


def searched(bounds: dict[str, tuple[int, int]], seed: int) -> Outcome:
    """What a search between the bounds finds, in a folder of its own."""
    given = [f"objectives.{name}=[{low},{high}]" for name, (low, high) in bounds.items()]
    experiment = compose_experiment([*SMALL, *SHORT, *given, f"seed={seed}"])
    with tempfile.TemporaryDirectory() as folder:
        search(Path(folder), experiment, load(experiment.data), make_fabric(experiment.fabric))
        *_, last = read_metrics(Path(folder), "search")
        costs = last["derived"], read_json(Path(folder) / "search.json")["derived_cost"]
    return Outcome(bounds, *({name: cost[quantity] for name, quantity in QUANTITIES.items()} for cost in costs))


@rc_context(STYLE)
def picture(outcomes: Sequence[Outcome]) -> Picture:
    """Each pair of bounds as a box, and the derived network in it."""
    figure, axes = make_axes("parameters", "MACs of one image", height=3.4)
    for outcome in outcomes:
        (left, right), (bottom, top) = outcome.bounds["parameters"], outcome.bounds["macs"]
        box = Rectangle((left, bottom), right - left, top - bottom, facecolor="#dbeaf5", edgecolor=BLUE, linewidth=0.6)
        axes.add_patch(box)
        colour = GREY if outcome.is_inside(outcome.found) else VERMILLION
        axes.plot(outcome.found["parameters"], outcome.found["macs"], "o", color=colour, markersize=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
    inside = sum(outcome.is_inside(outcome.found) for outcome in outcomes)
    caption = "Boxes: bounds. Points: derived networks, red where outside."
    said = f"{inside} of {len(outcomes)} derived networks lie inside their bounds."
    return make_picture("bounds", "Searches between random bounds", caption, said, figure)


def main() -> None:
    """Print and write a table and its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the bounds; searches count up from it")
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    table = cost_table(compose_experiment(SMALL))
    drawing = attainable_bounds(table, torch.Generator().manual_seed(arguments.seed))
    outcomes, rows, drawn = [], [], 0
    for index in range(arguments.searches):
        bounds, drawn = next(drawing)
        outcome = searched(bounds, arguments.seed + index)
        outcomes.append(outcome)
        cells = [f"{low:,} to {high:,}" for low, high in bounds.values()]
        sizes = [f"{size:,}" for size in outcome.found.values()]
        verdicts = ["inside" if outcome.is_inside(each) else "outside" for each in (outcome.last, outcome.found)]
        rows.append([*cells, *sizes, *verdicts])
        print(*rows[-1], sep=" | ", flush=True)
    at_last = sum(outcome.is_inside(outcome.last) for outcome in outcomes)
    inside = sum(outcome.is_inside(outcome.found) for outcome in outcomes)
    reach = ", ".join(f"{name} {low:,} to {high:,}" for name, (low, high) in reachable(table).items())
    text = (
        f"Digits, networks of 8 channels and 3 layers, which can have {reach}. Bounds of both at once, 5 % to both "
        f"sides of centres uniform over these ranges; {drawn} pairs drawn for {len(outcomes)} that some cell meets. "
        f"`experiment=comparison {' '.join((*SMALL[1:], *SHORT))}`.\n\n"
        f"Inside both bounds: {inside} of {len(outcomes)} derived networks. After the last step alone, before the "
        f"alphas settle or the likeliest cell inside is taken: {at_last}.\n\n"
        + record.table(("parameters", "MACs", "found", "found MACs", "after the last step", "derived"), rows)
    )
    record.write("bounds", "Searches between random bounds", text, (picture(outcomes),), arguments.results)


if __name__ == "__main__":
    main()
