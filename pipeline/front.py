"""The Pareto front of judged cells: which of them no other dominates, and how much they dominate together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from pipeline.evaluate import Accuracy

BETTER_LARGE = {"clean": True, "robust": True, "parameters": False, "macs": False}
"""The objectives in their order, and whether more of one is better."""

MARGIN = 1.1  # the reference lies this much above the largest sizes, so that the largest cell counts too


@dataclass(frozen=True)
class Judged:
    """A cell and its four objectives: accuracies as parts of the images, sizes of one network."""

    name: str
    clean: Accuracy
    robust: Accuracy
    parameters: int
    macs: int

    @property
    def objectives(self) -> tuple[float, float, float, float]:
        """In the order of BETTER_LARGE."""
        return self.clean.accuracy, self.robust.accuracy, self.parameters, self.macs


def on_front(cells: Sequence[Judged]) -> list[bool]:
    """Of each cell whether no other is at least as good in all objectives and better in one; equal ones stay."""
    return [bool(kept) for kept in moocore.is_nondominated(_array(cells), maximise=_MAXIMISED, keep_weakly=True)]


def reference_point(largest: Mapping[str, int]) -> dict[str, float]:
    """The point from which the hypervolume is measured: no accuracy, and sizes MARGIN times the largest."""
    return {"clean": 0.0, "robust": 0.0} | {size: MARGIN * largest[size] for size in ("parameters", "macs")}


def hypervolume(cells: Sequence[Judged], reference: Mapping[str, float]) -> float:
    """Part of the box from the reference to the ideal, accuracies of 1 and sizes of 0, that the cells dominate.

    In [0, 1]. A cell that is in one objective no better than the reference dominates nothing.
    """
    worst = np.array([reference[name] for name in BETTER_LARGE])
    ideal = np.array([1.0 if better else 0.0 for better in _MAXIMISED])
    # every objective from 0, the reference, to 1, the ideal
    return float(moocore.hypervolume((_array(cells) - worst) / (ideal - worst), ref=np.zeros(4), maximise=True))


_MAXIMISED = list(BETTER_LARGE.values())


def _array(cells: Sequence[Judged]) -> NDArray[np.float64]:
    return np.array([cell.objectives for cell in cells], dtype=np.float64)
