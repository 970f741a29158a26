"""Peak memory of a search step against the batch, with and without recomputation of cells.

    python benchmarks/memory.py                                       # the paper's setting: minutes
    python benchmarks/memory.py --ways "first order" --verify 96      # and one large batch, against the line

Each point is a process of its own that runs one search step with PGD-1 (further steps of PGD use the same memory
again). On the CPU the peak is that of the whole process, ru_maxrss, PyTorch itself included; on a GPU what PyTorch
allocated there. The largest batches for 24 GiB and 80 GB are extrapolated from the straight line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import record
import torch
from matplotlib import rc_context
from matplotlib.ticker import LogLocator
from synthetic import Size, random_search

from pipeline.presentation.style import COLOURS, GREY, MARKERS, STYLE, Picture, add_legend, make_axes, make_picture

GIB = 2**30
SMALLEST = 2  # batch that splits into weights and alphas
WAYS: dict[str, dict[str, object]] = {
    "first order": {"order": "first"},
    "first order, recomputed": {"order": "first", "recompute": True},
    "unrolled": {"order": "unrolled"},
    "unrolled by differences": {"order": "unrolled", "hessian": "finite_difference"},
    "unrolled by differences, recomputed": {"order": "unrolled", "hessian": "finite_difference", "recompute": True},
}
"""Keys of SearchSettings. Exact second derivatives record what recomputation would leave out: it is refused there."""

LIMITS = {"24 GiB": 24.0, "80 GB": 80e9 / GIB}


@dataclass
class Series:
    """Peaks of one of WAYS. points: batch, GiB, seconds of the step."""

    label: str
    points: list[tuple[int, float, float]] = field(default_factory=list)

    def line(self) -> tuple[float, float]:
        """Intercept and slope of the peak in GiB over the batch, by least squares."""
        slope, intercept = np.polyfit([p[0] for p in self.points], [p[1] for p in self.points], 1)
        return float(intercept), float(slope)

    def predicted(self, batch: int) -> float:
        """The line at a batch, in GiB."""
        intercept, slope = self.line()
        return intercept + slope * batch

    def largest(self, limit: float) -> int:
        """The largest batch whose peak the line puts below a limit in GiB. Raises ValueError where it does not rise."""
        intercept, slope = self.line()
        if slope <= 0:
            raise ValueError(f"the peak of {self.label} does not grow with the batch; give larger --batches")
        return int((limit - intercept) / slope)


def point(size: Size) -> tuple[float, float]:
    """Peak in GiB and seconds of one search step, in this process."""
    search = random_search(size)
    train, valid = next(search.batches())
    started = time.perf_counter()
    search.step(train, valid)
    seconds = time.perf_counter() - started
    if search.fabric.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / GIB, seconds
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB, seconds


def in_process(series: Series, batch: int, arguments: argparse.Namespace) -> tuple[int, float, float]:
    """Batch, GiB and seconds of a step in a process of its own."""
    size = {"channels": arguments.channels, "layers": arguments.layers, "image_size": arguments.size, "batch": batch}
    size |= {"steps": 1, "search": list(WAYS[series.label].items())}
    done = subprocess.run(  # noqa: S603 - this very file
        [sys.executable, __file__, "--point", json.dumps(size)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},  # glibc gives freed memory back at once
    )
    if done.returncode:
        raise RuntimeError(f"{series.label}, batch {batch} failed: {done.stderr.strip().splitlines()[-1:]}")
    gib, seconds = json.loads(done.stdout.splitlines()[-1])
    print(f"{series.label}, batch {batch}: {gib:.2f} GiB, {seconds:.1f} s", flush=True)
    return batch, gib, seconds


def measure(arguments: argparse.Namespace) -> list[Series]:
    """All series; points that a line through the smaller ones puts above the limit are left out."""
    found = []
    for way in arguments.ways:
        series = Series(way)
        for batch in sorted(arguments.batches):
            if len(series.points) >= 2 and series.predicted(batch) > arguments.limit:
                break
            series.points.append(in_process(series, batch, arguments))
        found.append(series)
    return found


def draw(found: list[Series], verified: list[tuple[Series, int, float]]) -> Picture:
    """Points, and their lines up to the memory of a large GPU."""
    figure, axes = make_axes("images of a batch", "peak of a search step (GiB)")
    for series, colour, marker in zip(found, COLOURS, MARKERS, strict=False):
        batches = [p[0] for p in series.points]
        axes.plot(batches, [p[1] for p in series.points], marker, color=colour, markersize=5, label=series.label)
        along = np.geomspace(min(batches), max(max(batches) + 1, series.largest(LIMITS["80 GB"])), 100)
        intercept, slope = series.line()
        axes.plot(along, intercept + slope * along, color=colour, linewidth=1)
    for series, batch, gib in verified:
        axes.plot(batch, gib, marker="*", color=COLOURS[found.index(series)], markersize=10)
    for name, limit in LIMITS.items():
        axes.axhline(limit, color=GREY, linewidth=0.8, linestyle="--")
        axes.annotate(name, (0.01, limit), xycoords=("axes fraction", "data"), va="bottom", color=GREY)
    record.plain_logarithms(axes)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))  # four figures a label
    axes.set_ylim(top=2 * LIMITS["80 GB"])
    add_legend(figure)
    text = "; ".join(f"{s.label}: {s.line()[1] * 1024:.0f} MiB an image" for s in found)
    return make_picture("memory", "Peak memory", "", f"Peak memory over the batch. {text}.", figure)


def report(arguments: argparse.Namespace, found: list[Series], verified: list[tuple[Series, int, float]]) -> str:
    """Tables: the lines, what they say of two memories, and every point."""
    lines = []
    for series in found:
        intercept, slope = series.line()
        off = max(abs(gib - series.predicted(batch)) for batch, gib, _ in series.points)
        largest = [str(series.largest(limit)) for limit in LIMITS.values()]
        lines.append([series.label, f"{intercept:.2f}", f"{slope * 1024:.0f}", f"{off:.3f}", *largest])
    header = ["search", "fixed GiB", "MiB an image", "largest residual GiB", *LIMITS]
    points = [
        [series.label, str(batch), f"{gib:.2f}", f"{seconds:.1f}"]
        for series in found
        for batch, gib, seconds in series.points
    ]
    checks = [
        f"Not in the fit, batch {batch}, {series.label}: measured {gib:.2f} GiB, the line says "
        f"{series.predicted(batch):.2f}."
        for series, batch, gib in verified
    ]
    setting = f"C={arguments.channels}, {arguments.layers} layers, {arguments.size}x{arguments.size}, PGD-1, float32"
    return "\n\n".join(
        [
            f"One search step, {setting}; each point is a process of its own. The last two columns are the largest "
            "batch, extrapolated from the straight line.",
            record.table(header, lines),
            *checks,
            record.table(["search", "batch", "peak GiB", "step s"], points),
        ]
    )


def main() -> None:
    """Measure, fit, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 8, 16, 24])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--limit", type=float, default=14, help="GiB that no point may be expected to need")
    parser.add_argument("--verify", type=int, help="one large batch of the first way; not in the fit")
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    parser.add_argument("--point", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point is not None:
        print(json.dumps(point(Size(**json.loads(arguments.point)))))
        return
    if len(set(arguments.batches)) < 2 or min(arguments.batches) < SMALLEST:
        parser.error(f"a line needs two different batches of at least {SMALLEST}")
    torch.set_num_threads(1)  # as each point's process
    found = measure(arguments)
    verified = []
    if arguments.verify is not None:
        expected = found[0].predicted(arguments.verify)
        if expected > arguments.limit:
            parser.error(f"--verify {arguments.verify} is expected to need {expected:.1f} GiB, above --limit")
        verified.append((found[0], *in_process(found[0], arguments.verify, arguments)[:2]))
    with rc_context(STYLE):
        picture = draw(found, verified)
    text = report(arguments, found, verified)
    record.write("memory", "Memory of a search step", text, [picture], arguments.results)


if __name__ == "__main__":
    main()
