"""One page of all results: python scripts/report.py run=runs/mine compare=[runs/other], or run=<folder of runs>."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("report")
