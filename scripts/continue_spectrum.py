"""From a Green's function to its spectrum: python scripts/continue_spectrum.py green.path=examples/green.txt ..."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("continue_spectrum")
