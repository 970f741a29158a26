"""The network that a search found on the digits, trained by the shipped learned optimizer and by default Adam.

    python benchmarks/learned_network.py                      # minutes on one core
    python benchmarks/learned_network.py --recipe pgd_at      # under attack, as networks are retrained
    python benchmarks/learned_network.py --theta mlp          # another one than the shipped default

The search is that of experiment=demo. Nothing is tuned: the learned optimizer is as it is shipped, and Adam has torch's
rate of 0.001, constant, without decay or clipping. Both begin from the same weights and see the same batches. The loss
is that of the batches as they come, mean of the last steps. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import record
import torch
from matplotlib import rc_context
from torch import Tensor

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.options.recipes import RECIPES
from pipeline.presentation.style import COLOURS, STYLE, Picture, add_legend, make_axes, make_picture
from pipeline.runs.files import read_json
from pipeline.runs.metrics import read_metrics
from pipeline.runs.progress import silently
from pipeline.search.search import search
from pipeline.training.retrain import retrain
from search_space import Genotype

LEARNED, ADAM = "learned, nothing tuned", "Adam, default"
OPTIMIZERS = {
    LEARNED: ("weight_optimizer=learned",),
    ADAM: (
        "weight_optimizer=adamw",
        "weight_optimizer.learning_rate=1e-3",
        "weight_optimizer.weight_decay=0",
        "weight_optimizer.clip=null",
        "retrain.final_rate=1",
    ),
}
DEMO = ("experiment=demo", "retrain.select_every=10")
LAST = 10  # steps whose mean is the loss at the end


def searched(folder: Path) -> Genotype:
    """The cell of the demo's search."""
    experiment = compose_experiment(DEMO)
    with silently():
        return search(folder, experiment, load(experiment.data), make_fabric(experiment.fabric))


def losses(folder: Path, genotype: Genotype, overrides: Sequence[str]) -> Tensor:
    """Training loss of every step of a retraining, [steps]."""
    experiment = compose_experiment([*DEMO, *overrides])
    with silently():
        retrain(folder, experiment, load(experiment.data), make_fabric(experiment.fabric), name="x", genotype=genotype)
    return torch.tensor([row["training_loss"] for row in read_metrics(folder, "retrain")])


def folder_of(arguments: argparse.Namespace, name: str, seed: int) -> Path:
    """Where a retraining is."""
    kind = f"learned-{Path(arguments.theta).stem}-" if name == LEARNED else "Adam"
    return Path(arguments.runs / arguments.recipe / f"{kind}{seed}")


def times_of_adam(arguments: argparse.Namespace) -> float:
    """Seconds of a training by the learned optimizer over those by Adam: median of the seeds, which took turns."""
    seconds = {
        name: [read_json(folder_of(arguments, name, seed) / "network.json")["training"]["seconds"] for seed in seeds]
        for name, seeds in ((name, range(arguments.seeds)) for name in OPTIMIZERS)
    }
    return statistics.median(a / b for a, b in zip(seconds[LEARNED], seconds[ADAM], strict=True))


def measure(arguments: argparse.Namespace) -> dict[str, Tensor]:
    """Losses by optimizer, [seeds, steps]."""
    genotype = searched(arguments.runs / "search")
    found: dict[str, list[Tensor]] = {name: [] for name in OPTIMIZERS}
    for seed in range(arguments.seeds):
        for name, curves in found.items():
            folder = folder_of(arguments, name, seed)
            overrides = [f"recipe={arguments.recipe}", *OPTIMIZERS[name], f"seed={seed}"]
            overrides += [f"weight_optimizer.theta={arguments.theta}"] if name == LEARNED else []
            curves.append(losses(folder, genotype, overrides))
            print(f"seed {seed}, {name}: {curves[-1][-LAST:].mean():.3f}", flush=True)
    return {name: torch.stack(curves) for name, curves in found.items()}


def report(found: Mapping[str, Tensor], recipe: str, times: float) -> str:
    """The table, and what it says."""
    ends = {name: curves[:, -LAST:].mean(1) for name, curves in found.items()}
    steps, seeds = found[ADAM].shape[1], len(found[ADAM])
    reached = int((ends[LEARNED] <= ends[ADAM]).sum())
    rows = [[str(seed), *(f"{end[seed]:.3f}" for end in ends.values())] for seed in range(seeds)]
    rows.append(["mean ± deviation", *(f"{end.mean():.3f} ± {end.std():.3f}" for end in ends.values())])
    return "\n\n".join(
        [
            f"The cell of experiment=demo, 8 channels, 3 cells, recipe={recipe}, {steps} steps of 64 images. Training "
            f"loss, mean of the last {LAST} steps:",
            record.table(["seed", *ends], rows),
            f"{LEARNED}: at most the loss of default Adam on {reached} of {seeds} seeds, in {times:.2f} times the "
            "seconds (median).",
        ]
    )


def draw(found: Mapping[str, Tensor], recipe: str) -> Picture:
    """Loss against steps: means of seeds, each a mean over ten steps."""
    figure, axes = make_axes("step", "training loss")
    for (name, curves), colour in zip(found.items(), COLOURS, strict=False):
        smooth = curves.unfold(1, LAST, 1).mean(-1)
        steps = range(LAST, curves.shape[1] + 1)
        axes.plot(steps, smooth.mean(0), color=colour, label=name)
        axes.fill_between(steps, smooth.min(0).values, smooth.max(0).values, color=colour, alpha=0.15, linewidth=0)
    axes.set(ylim=(0, None))
    add_legend(figure)
    text = "; ".join(f"{name} {curves[:, -LAST:].mean():.3f}" for name, curves in found.items())
    return make_picture(f"learned_network-{recipe}", "Training", "", f"Loss at the end: {text}.", figure)


def main() -> None:
    """Train, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="standard")
    parser.add_argument("--theta", default="general", help="a shipped name, or a file of meta-parameters")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=Path("runs/learned_network"))
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    found = measure(arguments)
    with rc_context(STYLE):
        picture = draw(found, arguments.recipe)
    name = f"learned_network-{arguments.recipe}"
    title = f"The searched network, by the learned optimizer {Path(arguments.theta).stem} and by Adam"
    text = report(found, arguments.recipe, times_of_adam(arguments))
    record.write(name, title, text, [picture], arguments.results)


if __name__ == "__main__":
    main()
