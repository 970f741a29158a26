"""Search a cell: python scripts/search.py experiment=demo run=runs/mine."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("search")
