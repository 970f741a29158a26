"""Published cells and their sizes, as published and at this setting: python scripts/cells.py [genotype=DARTS_V2]."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("cells")
