"""Train a learned optimizer: python scripts/meta_train.py experiment=meta_demo run=runs/meta."""

from __future__ import annotations

from pathlib import Path

from _app import run_app
from _output import show

from pipeline.meta_training.meta_train import describe, meta_train
from pipeline.runs.files import read_json
from pipeline.settings import Experiment


def main(experiment: Experiment) -> float:
    """Train, and say what was reached. -> normalised loss on tasks that trained nothing, over a training."""
    folder = Path(experiment.run)
    meta_train(folder, experiment)
    show(describe(folder))
    return float(read_json(folder / "theta.json")["best"]["mean"])


if __name__ == "__main__":
    run_app(
        main,
        "Train a learned optimizer on families of small tasks (es, rp, merged, persistent es).",
        remembers="meta_train",
        one_process=True,
        direction="minimize",
        when_out_of_memory="lower meta.processes, meta.pairs or meta.last_length",
    )
