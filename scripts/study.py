"""Searchers on a table of cells: python scripts/study.py experiment=study_nasbench201 study.table=runs/table."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("study")
