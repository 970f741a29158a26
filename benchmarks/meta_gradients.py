"""Norm and variance of the meta-gradient against unroll length: backpropagation, RP, ES, and both merged.

    python benchmarks/meta_gradients.py                          # the shipped optimizer; minutes on one core
    python benchmarks/meta_gradients.py --theta runs/meta/theta.safetensors --family copy

An estimate is that of a group of antithetic pairs, each with its own task, start and batches, over an unroll from the
start; "backpropagation" is that through the unroll at theta itself, unperturbed. Its variance is the trace of the
covariance over groups, the norm that of the mean over all groups (Metz et al. 2019, figure 2).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import record
import torch
from matplotlib import rc_context
from torch import Tensor

from learned_optimizers import Theta, load_theta, merge_estimates, new_theta
from learned_optimizers.meta_training.judging import Scaling
from learned_optimizers.meta_training.truncated_unrolls import Truncation, UnrollRecipe
from learned_optimizers.tasks import Bucket
from pipeline.presentation.style import COLOURS, MARKERS, STYLE, Picture, add_legend, make_axes, make_picture

KINDS = ("backpropagation", "RP", "ES", "merged")
UNPERTURBED = 1e-9  # a sigma that moves theta by less than its rounding
Found = dict[str, list[tuple[float, float]]]
"""By kind: norm and variance at each length."""


def rows(theta: Theta, bucket: Bucket, length: int, pairs: int, scale: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """ES and RP estimates of unrolls of a length from the start, each [pairs, n]."""
    recipe = UnrollRecipe(
        seed=0,
        task_seed=0,
        estimator="merged",
        pairs=pairs,
        sigma=sigma,
        horizon=length,
        full=True,
        cap=10.0,
        outer_batches=1,
    )
    found = Truncation(recipe, bucket, theta, None, length, 0, scale)()
    if found.rp is None:
        raise AssertionError("a merged truncation has both estimates")
    return found.es, found.rp


def estimates(theta: Theta, bucket: Bucket, length: int, pairs: int, group: int, sigma: float) -> dict[str, Tensor]:
    """Estimates of each kind, one a group: [groups, n]."""
    scale = Scaling(bucket, tuple(range(pairs)), 0, length)()
    es, rp = (kind.split(group) for kind in rows(theta, bucket, length, pairs, scale, sigma))
    _, plain = rows(theta, bucket, length, pairs, scale, UNPERTURBED)
    return {
        "backpropagation": torch.stack([part.mean(0) for part in plain.split(group)]),
        "RP": torch.stack([part.mean(0) for part in rp]),
        "ES": torch.stack([part.mean(0) for part in es]),
        "merged": torch.stack([merge_estimates(a, b) for a, b in zip(es, rp, strict=True)]),
    }


def measure(
    theta: Theta, bucket: Bucket, lengths: Sequence[int], pairs: int, group: int, sigma: float
) -> dict[str, list[tuple[float, float]]]:
    """Norm of the mean and trace of the covariance, by kind and length."""
    found: Found = {kind: [] for kind in KINDS}
    for length in lengths:
        for kind, means in estimates(theta, bucket, length, pairs, group, sigma).items():
            precise = means.double()
            found[kind].append((precise.mean(0).norm().item(), precise.var(0).sum().item()))
        print(f"length {length} of {max(lengths)}", flush=True)
    return found


def draw(found: Found, lengths: Sequence[int], index: int, label: str) -> Picture:
    """One quantity of all kinds against length."""
    figure, axes = make_axes("unroll length (inner steps)", label)
    for (kind, values), colour, marker in zip(found.items(), COLOURS, MARKERS, strict=False):
        series = [value[index] for value in values]
        style = "--" if kind == "backpropagation" else "-"
        axes.plot(lengths, series, style, marker=marker, color=colour, markersize=5, label=kind)
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.minorticks_off()
    add_legend(figure)
    text = "; ".join(f"{kind} {values[0][index]:.2g} to {values[-1][index]:.2g}" for kind, values in found.items())
    name = "meta_gradients-" + ("norm", "variance")[index]
    return make_picture(name, label, "", f"{label} against unroll length: {text}.", figure)


def report(found: Found, lengths: Sequence[int], arguments: argparse.Namespace) -> str:
    """The table, with how it was made."""
    lines = [
        [str(length), *(f"{found[kind][at][0]:.3g} / {found[kind][at][1]:.3g}" for kind in KINDS)]
        for at, length in enumerate(lengths)
    ]
    return "\n\n".join(
        [
            f"Family {arguments.family}; {arguments.pairs} pairs in groups of {arguments.group},"
            f" sigma {arguments.sigma:g}. Norm of the mean estimate / variance of a group's:",
            record.table(["inner steps", *KINDS], lines),
        ]
    )


def main() -> None:
    """Measure, and write table and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theta", help="a file or a shipped name; default mlp")
    parser.add_argument("--untrained", action="store_true", help="an optimizer before any training instead")
    parser.add_argument("--family", default="mlp_clusters")
    parser.add_argument("--lengths", nargs="+", type=int, default=[1, 2, 5, 10, 20, 50, 100])
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--sigma", type=float, default=0.01)
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    untrained = new_theta("mlp", generator=torch.Generator().manual_seed(0))
    theta = untrained if arguments.untrained else load_theta(arguments.theta or "mlp")
    bucket = Bucket(arguments.family, 0)
    found = measure(theta, bucket, arguments.lengths, arguments.pairs, arguments.group, arguments.sigma)
    labels = ("norm of the mean meta-gradient", "variance of the meta-gradient")
    with rc_context(STYLE):
        pictures = [draw(found, arguments.lengths, index, label) for index, label in enumerate(labels)]
    record.write(
        "meta_gradients", "Meta-gradients", report(found, arguments.lengths, arguments), pictures, arguments.results
    )


if __name__ == "__main__":
    main()
