"""Give the trained network away: python scripts/push.py run=runs/mine [push.repository=me/mine] [push.folder=mine]."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("push")
