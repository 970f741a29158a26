"""Train a learned optimizer: python scripts/meta_train.py experiment=meta_demo run=runs/meta."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("meta_train")
