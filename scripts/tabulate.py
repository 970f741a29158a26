"""A table of a search space's cells, trained and attacked: python scripts/tabulate.py experiment=table_nasbench201."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("tabulate")
