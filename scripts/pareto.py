"""Walk along the Pareto front from one supernet: python scripts/pareto.py experiment=pareto_demo run=runs/front."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("pareto")
