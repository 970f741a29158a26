"""Where the phases run, and how large what they measure is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from plain_supernet import PlainSupernet
from search_step import Batch, Setting, build
from synthetic import Size

from search_space import SearchSpace, Supernet

GIB = 2**30
Row = dict[str, Any]
"""A line of a phase's table: its figures by the columns' headings, as JSON has them."""


@dataclass(frozen=True)
class Sizes:
    """How large what is measured is.

    copied: bytes.  matrix: side.  repeats: of each measurement, whose median counts, after as many `warm_ups`.
    features: channels and side of what depthwise convolutions read.  checked: for the agreement in float64.
    search: of the supernet, the first of `batches` among it.  retrained: of the network.  parameters: of an optimizer.
    """

    copied: int
    matrix: int
    repeats: int
    warm_ups: int
    features: Sequence[tuple[int, int]]
    checked: Setting
    search: Size
    batches: Sequence[int]
    retrained: Size
    parameters: int

    def with_batch(self, batch: int) -> Size:
        """Return the search's size at another batch."""
        return replace(self.search, batch=batch)

    def supernets(
        self, setting: Setting, dtype: torch.dtype, device: torch.device
    ) -> tuple[PlainSupernet, Supernet, Batch, Batch]:
        """Return both supernets, of the cells of the search, and two batches, as `search_step.build` does."""
        return build(
            setting, dtype, device, space=SearchSpace(operations=self.search.operations, nodes=self.search.nodes)
        )


FEW_OPERATIONS = ("sep_conv_3x3", "max_pool_3x3", "skip_connect")
PAPER = Sizes(
    copied=GIB,
    matrix=8192,
    repeats=5,
    warm_ups=1,
    features=((64, 32), (128, 16), (256, 8)),
    checked=Setting(channels=8, layers=5, size=16, batch=8),
    search=Size(channels=16, layers=8, batch=64, image_size=32, steps=7),
    batches=(64, 128, 256),
    retrained=Size(channels=36, layers=20, batch=96, image_size=32, steps=10),
    parameters=3_000_000,
)
"""Those of conf/experiment/paper.yaml, and what they are made of."""

TINY = Sizes(
    copied=2**16,
    matrix=32,
    repeats=1,
    warm_ups=0,
    features=((8, 8),),
    checked=Setting(channels=2, layers=3, size=8, batch=2),
    search=Size(channels=2, layers=3, batch=2, image_size=8, steps=1, operations=FEW_OPERATIONS, nodes=2),
    batches=(2,),
    retrained=Size(channels=4, layers=3, batch=4, image_size=8, steps=1),
    parameters=1_000,
)
"""For a dry run, whose figures mean nothing."""


@dataclass(frozen=True)
class Place:
    """Where the phases run.

    device: of all tensors.  make_fabric: makes Lightning's Fabric on it, of a precision.
    counts: of a device that counts for itself what it is asked for, as tests/support/fake_accelerator does.
    """

    device: torch.device
    sizes: Sizes
    make_fabric: Callable[[str], Fabric]
    counts: Any = None

    @property
    def is_cuda(self) -> bool:
        """Return whether figures are those of a GPU."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until the device has done all that it was asked for."""
        if self.is_cuda:
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], object], *, times: int = 1, most: int | None = None) -> float:
        """Measure a call: the median over repeats, of which there are at most `most`, of `times` calls each."""
        kept = []
        repeats = min(most or self.sizes.repeats, self.sizes.repeats)
        for _ in range(self.sizes.warm_ups + repeats):
            self.wait()
            started = time.perf_counter()
            for _ in range(times):
                call()
            self.wait()
            kept.append((time.perf_counter() - started) / times)
        return statistics.median(kept[-repeats:])

    def forget_peak(self) -> None:
        """Begin to watch the memory anew."""
        if self.is_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_gib(self) -> float | None:
        """Return the most memory that PyTorch held since `forget_peak`; None but on a GPU."""
        return torch.cuda.max_memory_allocated() / GIB if self.is_cuda else None
