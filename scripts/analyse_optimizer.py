"""What an optimizer, learned or not, does: python scripts/analyse_optimizer.py analyse.optimizer=mlp."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("analyse_optimizer")
