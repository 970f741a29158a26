"""Time of an input-gradient pass and of a whole search step against channels, layers, batch and operations.

    python benchmarks/growth.py                 # minutes on one core
    python benchmarks/growth.py --repeats 5 --channels 8 16 32 64

Each quantity is varied alone around a base setting. An input-gradient pass is one iteration of PGD: forward, and
backward to the images. A search step is what a search runs: both objectives in alpha, then the weights, with PGD-7.
All points are timed in turn, `repeats` times after one round that does not count; medians are fitted by
time ~ quantity^exponent, by least squares in log-log.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import record
import torch
from matplotlib import rc_context
from synthetic import Size, random_search
from torch.nn import functional as F

from pipeline.presentation.style import COLOURS, MARKERS, STYLE, Picture, add_legend, make_axes, make_picture

OPERATIONS = (
    ("sep_conv_3x3", "skip_connect"),
    ("dil_conv_3x3", "max_pool_3x3"),
    ("dil_conv_5x5", "avg_pool_3x3"),
    ("sep_conv_5x5", "none"),
)
"""Added in pairs, one with weights and one without, so that operations of about equal cost are counted."""

VARIED = {"channels": "channels", "layers": "layers", "batch": "images of a batch", "operations": "operations an edge"}
KINDS = {"pass": "input-gradient pass", "step": "search step"}


@dataclass
class Timed:
    """A setting and how long it takes. seconds: of each kind, one a round."""

    size: Size
    run: dict[str, Callable[[], object]]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def median(self, kind: str) -> float:
        """Seconds of a kind."""
        return statistics.median(self.seconds[kind])


def timed(size: Size) -> Timed:
    """The setting, ready to be run."""
    search = random_search(size)
    train, valid = next(search.batches())
    images = train.images.clone().requires_grad_()

    def input_gradient() -> None:
        search.supernet.requires_grad_(False)  # as in an attack
        torch.autograd.grad(F.cross_entropy(search.supernet(images), train.labels), images)
        search.supernet.requires_grad_(True)

    return Timed(size, {"pass": input_gradient, "step": lambda: search.step(train, valid)})


def sizes(base: Size, quantity: str, values: Sequence[int]) -> dict[int, Size]:
    """The settings of one series: value -> base with that value."""
    if quantity == "operations":
        return {value: replace(base, operations=first_operations(value)) for value in values}
    return {value: replace(base, **{quantity: value}) for value in values}


def first_operations(count: int) -> tuple[str, ...]:
    """The first operations of OPERATIONS, in pairs."""
    if count % 2 or not 2 <= count <= 2 * len(OPERATIONS):
        raise ValueError(f"operations come in pairs, 2 to {2 * len(OPERATIONS)}, found {count}")
    return tuple(name for pair in OPERATIONS[: count // 2] for name in pair)


def run_rounds(points: Sequence[Timed], repeats: int) -> None:
    """Time all points in turn, so that what else the machine does spreads over all of them."""
    for again in range(repeats + 1):
        for point in points:
            for kind, run in point.run.items():
                started = time.perf_counter()
                run()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if again:
                    point.seconds[kind].append(time.perf_counter() - started)
        print(f"round {again} of {repeats}", flush=True)


def exponent(values: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Slope of log time over log quantity, and the largest deviation of a point from the line, as a ratio less 1."""
    x, y = np.log(values), np.log(seconds)
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(np.exp(np.abs(y - slope * x - intercept).max()) - 1)


Series = dict[str, dict[int, Timed]]


def draw(found: Series, kind: str, exponents: dict[tuple[str, str], tuple[float, float]]) -> Picture:
    """One picture a kind: time over each quantity relative to its smallest value, with the fitted lines."""
    figure, axes = make_axes("quantity, relative to its smallest value", f"{KINDS[kind]} (s)")
    for (quantity, points), colour, marker in zip(found.items(), COLOURS, MARKERS, strict=False):
        values, seconds = list(points), [point.median(kind) for point in points.values()]
        relative = np.array(values) / values[0]
        slope = exponents[quantity, kind][0]
        label = f"{VARIED[quantity]}: {values[0]} to {values[-1]}, exponent {slope:.2f}"
        axes.plot(relative, seconds, marker, color=colour, markersize=5, label=label)
        level = np.exp(np.mean(np.log(seconds) - slope * np.log(relative)))
        axes.plot(relative, level * relative**slope, color=colour, linewidth=1)
    record.plain_logarithms(axes)
    largest = max(max(points) / min(points) for points in found.values())
    axes.set_xticks([2**power for power in range(int(np.log2(largest)) + 1)])
    add_legend(figure)
    text = "; ".join(f"{VARIED[q]}: exponent {exponents[q, kind][0]:.2f}" for q in found)
    return make_picture(f"growth-{kind}", KINDS[kind], "", f"Time: {KINDS[kind]}. {text}.", figure)


def report(base: Size, found: Series, exponents: dict[tuple[str, str], tuple[float, float]], repeats: int) -> str:
    """Tables: exponents, and every point."""
    fits = [
        [VARIED[quantity], ", ".join(map(str, points))]
        + [f"{exponents[quantity, kind][0]:.2f} ({exponents[quantity, kind][1]:.0%})" for kind in KINDS]
        for quantity, points in found.items()
    ]
    rows = [
        [VARIED[quantity], str(value)]
        + [f"{point.median(k):.3f} ({min(point.seconds[k]):.3f} to {max(point.seconds[k]):.3f})" for k in KINDS]
        for quantity, points in found.items()
        for value, point in points.items()
    ]
    pairs = "; ".join(" + ".join(pair) for pair in OPERATIONS)
    return "\n\n".join(
        [
            f"Base: C={base.channels}, {base.layers} layers, batch {base.batch}, "
            f"{base.image_size}x{base.image_size}, {len(base.operations)} operations, first order, PGD-{base.steps}, "
            f"float32; each quantity alone. Medians of {repeats} rounds of all points in turn.",
            "Exponents (and the largest deviation of a point from its line):",
            record.table(["quantity", "values", *KINDS.values()], fits),
            f"Operations are added in pairs: {pairs}.",
            "Median seconds (and range):",
            record.table(["quantity", "value", *KINDS.values()], rows),
        ]
    )


def main() -> None:
    """Measure, fit, and write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-channels", type=int, default=8)
    parser.add_argument("--base-layers", type=int, default=6)
    parser.add_argument("--base-batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=16, help="side of the images in pixels")
    parser.add_argument("--steps", type=int, default=7, help="of PGD in a search step")
    parser.add_argument("--channels", nargs="+", type=int, default=[4, 8, 16, 32])
    parser.add_argument("--layers", nargs="+", type=int, default=[3, 6, 12])
    parser.add_argument("--batch", nargs="+", type=int, default=[8, 16, 32, 64])
    parser.add_argument("--operations", nargs="+", type=int, default=[2, 4, 6, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    if min(len(set(getattr(arguments, quantity))) for quantity in VARIED) < 2:
        parser.error("an exponent needs two different values of each quantity")
    base = Size(
        channels=arguments.base_channels,
        layers=arguments.base_layers,
        batch=arguments.base_batch,
        image_size=arguments.size,
        steps=arguments.steps,
        operations=first_operations(2 * len(OPERATIONS)),
    )
    wanted = {quantity: sizes(base, quantity, sorted(set(getattr(arguments, quantity)))) for quantity in VARIED}
    points = {size: timed(size) for series in wanted.values() for size in series.values()}
    found = {q: {value: points[size] for value, size in series.items()} for q, series in wanted.items()}
    run_rounds(list(points.values()), arguments.repeats)
    exponents = {
        (quantity, kind): exponent(list(series), [point.median(kind) for point in series.values()])
        for quantity, series in found.items()
        for kind in KINDS
    }
    with rc_context(STYLE):
        pictures = [draw(found, kind, exponents) for kind in KINDS]
    text = report(base, found, exponents, arguments.repeats)
    record.write("growth", "How time grows", text, pictures, arguments.results)


if __name__ == "__main__":
    main()
