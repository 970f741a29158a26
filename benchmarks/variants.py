"""What approximate searches cost and keep: their alpha gradient, the time of their step, and their final cell.

    python benchmarks/variants.py                                     # digits
    python benchmarks/variants.py --images /data/cifar10 --name "CIFAR-10"    # a subset of a local folder's images
    python benchmarks/variants.py --variant sampled search.relaxation.edges_kept=2 --variants PGD-7 "carry-over 1"

A variant is a name and overrides of the base experiment, as on a script's command line; more are added by --variant.
All are measured against the first, PGD-7 from a random start:
- cosine: along each variant's own search, of its gradient in alpha with that of the first at the same weights, alphas
  and images. That of PGD-7 itself is below 1 by the random start alone. There is none where a variant's weights or
  alphas have another form.
- time: all searches advance in turn in one process; the ratio of their steps' times, of each pair of steps.
- final: search, retrain and evaluate, the stages themselves, for several seeds; kept in --runs, and resumed from there.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import record
from followed_searches import REFERENCE, Followed, follow
from matplotlib import rc_context

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import ImageData, load
from pipeline.presentation.style import (
    COLOURS,
    MARKERS,
    STYLE,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
    whole_numbers,
)
from pipeline.search.search import search
from pipeline.settings import Experiment
from pipeline.studies.retrain_and_evaluate import retrain_and_evaluate

ATTACK = "pgd-20"
BASE = (
    "experiment=demo",
    "attack.steps=7",
    "attack.step=null",
    "search.epochs=10",
    "retrain.epochs=12",
    "retrain.attack.step=null",
    f"evaluate.attacks=[{ATTACK}]",
    "evaluate.images=null",
)
DIGITS = ("data.limit=400",)
FOLDER = (  # CIFAR-10's radius, and the demo's bounds for 16 times as many pixels
    "data=huggingface",
    "data.limit=480",
    "data.test_limit=500",
    "attack.eps=8/255",
    "objectives.macs=[null,6.4e6]",
    "search.epochs=5",
    "retrain.epochs=20",
    "retrain.attack.name=fgsm_rs",
)
VARIANTS: Mapping[str, tuple[str, ...]] = {
    REFERENCE: (),
    "PGD-10": ("attack.steps=10",),
    "carry-over 1": ("attack.carry_over=true", "attack.steps=1"),
    "carry-over 2": ("attack.carry_over=true", "attack.steps=2"),
    "carry-over 3": ("attack.carry_over=true", "attack.steps=3"),
    "FGSM-RS": ("attack.name=fgsm_rs",),
    "partial channels": ("search.partial_channels=2",),
    "sampled operations": ("relaxation=sampled_operations",),
    "sampled edges": ("relaxation=sampled_edges",),
}


@dataclass(frozen=True)
class Final:
    """Accuracies on the test images of one derived and retrained cell, and its size."""

    clean: float
    robust: float
    parameters: int


def final(folder: Path, experiment: Experiment, data: ImageData) -> Final:
    """Search, retrain and evaluate in a run folder, or what is there already."""
    fabric = make_fabric(experiment.fabric)
    genotype = search(folder, experiment, data, fabric)
    results, cost = retrain_and_evaluate(folder, experiment, data, fabric, name=folder.name, genotype=genotype)
    accuracy = {result.attack: result.accuracy for result in results}
    return Final(accuracy["clean"], accuracy[ATTACK], cost["parameters"])


def ratios(followed: Mapping[str, Followed], name: str) -> list[float]:
    """Time of each step over that of the reference's step beside it, the first step left out."""
    return [a / b for a, b in zip(followed[name].seconds[1:], followed[REFERENCE].seconds[1:], strict=True)]


def spread(values: Sequence[float]) -> str:
    """Mean, sample standard deviation and range, in percent."""
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.1%} ± {deviation:.1%} ({min(values):.1%} to {max(values):.1%})"


def report(followed: Mapping[str, Followed], finals: Mapping[str, list[Final]], experiments: Mapping[str, Any]) -> str:
    """The table, and what it was measured with."""
    rows = []
    for name, one in followed.items():
        ratio, cells = ratios(followed, name), finals[name]
        quartiles = np.quantile(ratio, [0.25, 0.75])
        rows.append(
            [
                name,
                *(f"{one.cosine(objective):.3f}" for objective in ("robustness", "accuracy")),
                f"{statistics.median(ratio):.2f} ({quartiles[0]:.2f} to {quartiles[1]:.2f})",
                spread([cell.robust for cell in cells]),
                spread([cell.clean for cell in cells]),
                f"{statistics.fmean(cell.parameters for cell in cells):,.0f}",
            ]
        )
    header = ["variant", "cosine, robustness", "cosine, accuracy", "time of a step", f"robust ({ATTACK})", "clean"]
    settings = experiments[REFERENCE]
    return "\n\n".join(
        [
            f"{settings.data.name or settings.data.path or settings.data.source}, {settings.data.limit} training "
            f"images, eps {settings.attack.eps:.4g}; search of C={settings.search.channels}, {settings.search.layers} "
            f"layers, {settings.search.epochs} epochs, batch {settings.search.batch_size}; derived cells retrained for "
            f"{settings.retrain.epochs} epochs against {settings.retrain.attack.name}; "
            f"{len(finals[REFERENCE])} seeds.",
            f"Time is relative to {REFERENCE}: median and quartiles over the steps of searches that take turns. "
            "Accuracies: mean, sample deviation and range over the seeds, on the test images.",
            record.table([*header, "parameters"], rows),
        ]
    )


def draw_cosines(followed: Mapping[str, Followed], name: str) -> Picture:
    """Cosine of the robustness gradient along the searches, an average an epoch."""
    figure, axes = make_axes("epoch of the search", "cosine with the exact gradient")
    for (variant, one), colour, marker in zip(followed.items(), COLOURS * 3, MARKERS * 3, strict=False):
        by_epoch: dict[int, list[float]] = {}
        for at, found in one.cosines:
            by_epoch.setdefault(int(at) + 1, []).append(found["robustness"])
        means = [statistics.fmean(seen) for seen in by_epoch.values()]
        if not np.isnan(means).all():
            axes.plot(list(by_epoch), means, color=colour, marker=marker, markersize=4, label=variant)
    axes.set_ylim(top=1.03)  # markers at 1 are seen whole
    whole_numbers(axes)
    add_legend(figure)
    known = {variant: one.cosine("robustness") for variant, one in followed.items()}
    text = "; ".join(f"{variant}: mean {mean:.3f}" for variant, mean in known.items() if not np.isnan(mean))
    return make_picture(f"{name}-cosine", "Gradients", "", f"Cosine of the robustness gradient. {text}.", figure)


def draw_finals(followed: Mapping[str, Followed], finals: Mapping[str, list[Final]], name: str) -> Picture:
    """Robust accuracy of the final cells over the time of a search step; a small point a seed."""
    figure, axes = make_axes("time of a search step, PGD-7 = 1", f"robust accuracy ({ATTACK})")
    for (variant, cells), colour, marker in zip(finals.items(), COLOURS * 3, MARKERS * 3, strict=False):
        at = statistics.median(ratios(followed, variant))
        robust = [cell.robust for cell in cells]
        axes.plot([at] * len(robust), robust, marker, color=colour, markersize=3, alpha=0.6)
        axes.plot(at, statistics.fmean(robust), marker, color=colour, markersize=8, label=variant, linestyle="none")
    axes.set_xlim(left=0)
    in_percent(axes)
    add_legend(figure)
    text = "; ".join(f"{variant}: {statistics.fmean(c.robust for c in cells):.1%}" for variant, cells in finals.items())
    return make_picture(f"{name}-accuracy", "Final cells", "", f"Robust accuracy of the final cells. {text}.", figure)


def main() -> None:
    """Measure, and write table and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="a local folder of images, instead of the digits")
    parser.add_argument("--name", help="what results call these images")
    parser.add_argument("--base", nargs="+", default=[], help="further overrides, of all variants")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="of those built in")
    parser.add_argument("--variant", nargs="+", action="append", default=[], metavar=("NAME", "OVERRIDE"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--probes", type=int, default=3, help="comparisons of the gradients an epoch")
    parser.add_argument("--epochs", type=int, help="of the searches that take turns; all without it")
    parser.add_argument("--runs", type=Path, default=Path("runs/variants"))
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    chosen = {name: VARIANTS[name] for name in VARIANTS if name in (REFERENCE, *arguments.variants)}
    chosen |= {name: tuple(overrides) for name, *overrides in arguments.variant}
    images = [] if arguments.images is None else [*FOLDER, f"data.path={arguments.images}"]
    named = [] if arguments.name is None else [f"data.name='{arguments.name}'"]
    base = [*BASE, *(images or DIGITS), *named, *arguments.base]

    def composed(seed: int) -> dict[str, Experiment]:
        return {name: compose_experiment([*base, *overrides, f"seed={seed}"]) for name, overrides in chosen.items()}

    by_seed = {seed: composed(seed) for seed in arguments.seeds}  # all, so that a wrong override is refused first
    first = by_seed[arguments.seeds[0]]
    data = load(first[REFERENCE].data)
    followed = follow(first, data, arguments.probes, arguments.epochs)
    finals: dict[str, list[Final]] = {name: [] for name in chosen}
    for seed, experiments in by_seed.items():
        for name, experiment in experiments.items():
            folder = arguments.runs / data.name / name.replace(" ", "-") / f"seed{seed}"
            finals[name].append(final(folder, experiment, data))
            print(f"{name}, seed {seed}: {finals[name][-1]}", flush=True)
    name = f"variants-{'digits' if arguments.images is None else Path(arguments.images).name}"
    with rc_context(STYLE):
        pictures = [draw_cosines(followed, name), draw_finals(followed, finals, name)]
    record.write(name, "Approximate searches", report(followed, finals, first), pictures, arguments.results)


if __name__ == "__main__":
    main()
