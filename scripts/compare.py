"""Searched cells beside random and published ones: python scripts/compare.py experiment=comparison."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("compare")
