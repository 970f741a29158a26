"""Walk along the Pareto front from one supernet: python scripts/pareto.py experiment=pareto_demo run=runs/front."""

from __future__ import annotations

from pathlib import Path

from _app import run_app
from _output import show

from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.settings import Experiment
from pipeline.studies.pareto.front import table
from pipeline.studies.pareto.pareto import pareto


def main(experiment: Experiment) -> None:
    """Walk, and print the front."""
    fabric, data = make_fabric(experiment.fabric), load(experiment.data)
    folder = Path(experiment.run)
    show(*table(pareto(folder, experiment, data, fabric)).split("\n"))
    show(str(folder / "pareto.json"))


if __name__ == "__main__":
    run_app(
        main,
        "Walk budgets or preferences from one trained supernet, and write the front with its hypervolume.",
        remembers="pareto",
        one_process=True,
        when_out_of_memory="lower search.batch_size or search.channels, or set search.recompute=true",
    )
