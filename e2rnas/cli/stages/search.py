"""Search a cell."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from pipeline.compute.fabric import make_fabric
from pipeline.compute.ranks import launch
from pipeline.data import load
from pipeline.runs.files import read_json
from pipeline.search.search import search
from pipeline.settings import Experiment


def main(experiment: Experiment) -> float | None:
    """Search, and say what was found. -> the chosen cell's accuracy after its last round, where there was a choice."""
    fabric = make_fabric(experiment.fabric)
    data = load(experiment.data)
    launch(fabric)
    folder = Path(experiment.run)
    search(folder, experiment, data, fabric)
    if not fabric.is_global_zero:
        return None
    result = read_json(folder / "search.json")
    cost = result["derived_cost"]
    show(
        f"{folder / 'genotype.json'}: {cost['parameters']:,} parameters, {cost['conv_linear_macs']:,} MACs when derived"
    )
    for name, bound in result["bounds"].items():
        kept = "inside" if bound["violation"] == 0 else f"{bound['violation']:.1%} outside"
        show(f"  {name}: {bound['value']:,} is {kept} [{bound['lower']}, {bound['upper']}]")
    return result["selection"][0]["accuracies"][-1] if result["selection"] else None
