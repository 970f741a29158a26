"""A search that collapses, and the same search with each guard and remedy: what its cells hold at the end.

    python benchmarks/collapse.py                                   # experiment=collapse, three seeds
    python benchmarks/collapse.py --quick                           # no guard, two guards, one remedy
    python benchmarks/collapse.py --seeds 0 --variants none "auxiliary skip of weight 3"
    python benchmarks/collapse.py --experiment late_collapse --quick    # skips come late: what the guards are for

A cell has collapsed when most of its edges hold operations without weights. Every search starts from the same weights
and alphas of its seed and sees the same batches.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import record

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.runs.files import read_json
from pipeline.search.search import search

VARIANTS = {
    "none": (),
    "guard: rollback by skips": ("guard=skips_rollback", "search.guard.most_skips=4"),
    "guard: stop by skips": ("guard=darts_plus", "search.guard.most_skips=4"),
    "guard: stop by eigenvalue": ("guard=robust_darts", "search.diagnostics.iterations=10"),
    "auxiliary skip (DARTS-)": ("relaxation=darts_minus",),
    "auxiliary skip of weight 3": ("relaxation=darts_minus", "search.relaxation.auxiliary_skip=3"),
    "sigmoids (FairDARTS)": ("relaxation=fair_darts",),
    "edge normalisation (half of PC-DARTS)": ("relaxation=pc_darts_edges",),
    "partial channels (PC-DARTS)": ("relaxation=pc_darts",),
    "operation dropout": ("relaxation=dropout",),
    "one sampled operation (GDAS)": ("relaxation=gdas",),
    "two sampled edges": ("relaxation=sampled_edges",),
}
QUICK = ("none", "guard: stop by skips", "guard: stop by eigenvalue", "auxiliary skip of weight 3")
EXPERIMENTS = ("collapse", "late_collapse")
CELLS = ("normal", "reduction")


def searched(experiment_name: str, overrides: Sequence[str], seed: int) -> dict[str, Any]:
    """search.json of a search of its own folder."""
    experiment = compose_experiment([f"experiment={experiment_name}", *overrides, f"seed={seed}"])
    with tempfile.TemporaryDirectory() as folder:
        search(Path(folder), experiment, load(experiment.data), make_fabric(experiment.fabric))
        return dict(read_json(Path(folder) / "search.json"))


def row(name: str, results: Sequence[dict[str, Any]]) -> list[str]:
    """A variant's line of the table: means over seeds, and the value of each."""

    def figures(values: Sequence[float]) -> str:
        return f"{statistics.fmean(values):.1f} ({', '.join(f'{value:g}' for value in values)})"

    cells = [figures([result["diagnostics"]["weight_free"][cell] for result in results]) for cell in CELLS]
    entropy = statistics.fmean(result["diagnostics"]["entropy"] for result in results)
    parameters = statistics.fmean(result["derived_cost"]["parameters"] for result in results)
    went_back = ", ".join(str(len(result["guard"])) for result in results) if name.startswith("guard") else "-"
    return [name, *cells, f"{entropy:.2f}", f"{parameters:,.0f}", went_back]


def main() -> None:
    """Print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    variants = parser.add_mutually_exclusive_group()
    variants.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    variants.add_argument("--quick", action="store_const", dest="variants", const=QUICK, help=", ".join(QUICK))
    parser.add_argument("--experiment", choices=EXPERIMENTS, default=EXPERIMENTS[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    rows = []
    for name in arguments.variants:
        rows.append(row(name, [searched(arguments.experiment, VARIANTS[name], seed) for seed in arguments.seeds]))
        print(*rows[-1], sep=" | ", flush=True)
    header = ("search", "normal cell", "reduction cell", "entropy", "parameters", "times the guard acted")
    seeds = ", ".join(map(str, arguments.seeds))
    text = (
        f"Operations without weights in the derived cells, of 8 edges: mean (seeds {seeds}). Entropy of an edge's "
        "operations: 1 undecided, 0 decided.\n\n" + record.table(header, rows)
    )
    record.write(
        f"remedies_{arguments.experiment}", "A search that collapses, and what helps", text, (), arguments.results
    )


if __name__ == "__main__":
    main()
