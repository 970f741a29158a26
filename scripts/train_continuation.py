"""Train a network that continues Green's functions: python scripts/train_continuation.py experiment=continuation."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("train_continuation")
