"""What measurements leave: a table in Markdown and a picture, in benchmarks/results/."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

from pipeline.compute.environment import processor
from pipeline.presentation.style import Picture
from pipeline.presentation.tables import markdown_table
from pipeline.runs.files import write_atomically

RESULTS = Path(__file__).resolve().parent / "results"
table = markdown_table
"""The name by which benchmarks write their tables."""


def machine() -> str:
    """Where it was measured: processor, threads, torch."""
    return f"{processor()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def command() -> str:
    """The command line that was given, without where this machine keeps files."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def plain_logarithms(axes: Axes, subdivisions: tuple[float, ...] = (1, 2, 5)) -> None:
    """Both axes logarithmic, their ticks at 1, 2, 5, 10, ... written as plain numbers."""
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=subdivisions))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def mean_and_range(values: Tensor) -> str:
    """Of some seeds, for a cell of a table."""
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def write(name: str, title: str, text: str, pictures: Sequence[Picture], folder: Path = RESULTS) -> None:
    """Write <name>.md and its pictures, and print the text."""
    for picture in pictures:
        write_atomically(folder / f"{picture.name}.png", picture.png)
    shown = "\n\n".join(f"![{picture.alt}]({picture.name}.png)" for picture in pictures)
    write_atomically(folder / f"{name}.md", f"# {title}\n\n`{command()}`. {machine()}.\n\n{text}\n\n{shown}\n")
    print(text)
    print(folder / f"{name}.md")
