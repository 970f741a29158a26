"""Measure a network under attack: python scripts/evaluate.py run=runs/mine evaluate.attacks=[pgd-20,autoattack]."""

from e2rnas.cli.main import run

if __name__ == "__main__":
    run("evaluate")
