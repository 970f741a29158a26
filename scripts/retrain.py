"""Train the network of a searched or published cell: python scripts/retrain.py run=runs/mine [genotype=DARTS_V2]."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("retrain")
