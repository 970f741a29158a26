"""The Pareto front of judged cells: which of them no other dominates, and how much they dominate together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import moocore
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, with_config
from scipy.stats import kendalltau
from typing_extensions import TypedDict

from pipeline.evaluation.accuracy import CLEAN, Accuracy
from pipeline.presentation.notebook import TextInNotebook
from pipeline.presentation.tables import text_table
from pipeline.presentation.words import bound_in_words, magnitude, named
from pipeline.runs.schemas import EXACT, Count, Figure, Share, checked, read_as
from pipeline.runs.stored_settings import PlainSettings

BETTER_LARGE = {"clean": True, "robust": True, "parameters": False, "macs": False}
"""The objectives in their order, and whether more of one is better."""

Convention = Literal["conv_linear_macs", "thop_macs"]
Size = Annotated[float, Field(ge=0, le=1e100)] | None
REFERENCE_MARGIN = 1.1  # the reference lies this much above the largest sizes, so that the largest cell counts too


@with_config(EXACT)
class Asked(TypedDict, total=False):
    """What was asked of a point, as keys below objectives."""

    parameters: Annotated[list[Size], Field(min_length=2, max_length=2)]
    macs: Annotated[list[Size], Field(min_length=2, max_length=2)]
    preferences: dict[str, Annotated[float, Field(gt=0, le=1e100)]]


def _is_asked(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    checked(asked, Asked, "expected bounds or preferences")
    return asked


@with_config(EXACT)
class Reference(TypedDict):
    """Where the hypervolume is measured from: an accuracy of 0, and sizes."""

    clean: Share
    robust: Share
    parameters: Figure
    macs: Figure


def _is_reference(reference: Mapping[str, float]) -> Mapping[str, float]:
    checked(reference, Reference, "expected two accuracies and two sizes")
    return reference


@dataclass(frozen=True)
class FrontCell:
    """A cell and its four objectives: accuracies as parts of the images, sizes of one network.

    asked: what was asked of it, as keys below objectives; empty for a published cell.
    supernet: robust accuracy in the supernet, which is `robust` unless the cell was retrained.
    """

    name: str
    asked: Annotated[Mapping[str, Any], AfterValidator(_is_asked)]
    parameters: Count
    macs: Count
    clean: Accuracy
    robust: Accuracy
    supernet: Accuracy
    on_front: bool = False
    __pydantic_config__ = EXACT

    @property
    def objectives(self) -> tuple[float, float, float, float]:
        """Return the objectives in the order of BETTER_LARGE."""
        return self.clean.accuracy, self.robust.accuracy, self.parameters, self.macs


@dataclass(frozen=True)
class Front(TextInNotebook):
    """All points of a walk, those on the front marked, and published cells judged alike: the content of pareto.json.

    reference, hypervolume: see `hypervolume`; published cells are no part of it.
    agreement: Kendall's tau-b of robust accuracy in the supernet and after retraining; None without retraining, and
        where one of the two ranks nothing.
    """

    settings: PlainSettings
    retrained: bool
    macs_convention: Convention
    reference: Annotated[Mapping[str, float], AfterValidator(_is_reference)]
    hypervolume: Share
    agreement: Annotated[float, Field(ge=-1, le=1)] | None
    points: Annotated[Sequence[FrontCell], Field(min_length=1)]
    published: Sequence[FrontCell] = field(default=())
    __pydantic_config__ = EXACT

    @classmethod
    def of(
        cls,
        points: Sequence[FrontCell],
        published: Sequence[FrontCell],
        *,
        largest: Mapping[str, int],
        settings: dict[str, Any],
        retrained: bool,
        macs_convention: Convention,
    ) -> Front:
        """Find the front among the points. largest: parameters and macs that a cell can have."""
        reference = reference_point(largest)
        marked = [replace(point, on_front=kept) for point, kept in zip(points, on_front(points), strict=True)]
        return cls(
            settings=settings,
            retrained=retrained,
            macs_convention=macs_convention,
            reference=reference,
            hypervolume=hypervolume(points, reference),
            agreement=rank_agreement([*points, *published]) if retrained else None,
            points=marked,
            published=published,
        )

    def __str__(self) -> str:
        return front_table(self)


def on_front(cells: Sequence[FrontCell]) -> list[bool]:
    """Say of each cell whether no other is at least as good in all objectives and better in one; equal ones stay."""
    return nondominated([cell.objectives for cell in cells])


def nondominated(objectives: Sequence[Sequence[float]]) -> list[bool]:
    """Say of each row of objectives, in the order of BETTER_LARGE, whether no other dominates it."""
    values = np.array(objectives, dtype=np.float64)
    return [bool(kept) for kept in moocore.is_nondominated(values, maximise=_MAXIMISED, keep_weakly=True)]


def reference_point(largest: Mapping[str, int]) -> dict[str, float]:
    """Choose where the hypervolume is measured from: no accuracy, and sizes MARGIN times the largest."""
    return {"clean": 0.0, "robust": 0.0} | {size: REFERENCE_MARGIN * largest[size] for size in ("parameters", "macs")}


def hypervolume(cells: Sequence[FrontCell], reference: Mapping[str, float]) -> float:
    """Part of the box from the reference to the ideal, accuracies of 1 and sizes of 0, that the cells dominate.

    In [0, 1]. A cell that is in one objective no better than the reference dominates nothing.
    """
    worst = np.array([reference[name] for name in BETTER_LARGE])
    ideal = np.array([1.0 if better else 0.0 for better in _MAXIMISED])
    # every objective from 0, the reference, to 1, the ideal
    return float(moocore.hypervolume((_array(cells) - worst) / (ideal - worst), ref=np.zeros(4), maximise=True))


def rank_agreement(cells: Sequence[FrontCell]) -> float | None:
    """Compute Kendall's tau-b of the ranks in the supernet and after retraining."""
    ranks = [[cell.supernet.accuracy for cell in cells], [cell.robust.accuracy for cell in cells]]
    if any(len(set(values)) < 2 for values in ranks):
        return None
    tau = float(kendalltau(*ranks).statistic)
    return tau if math.isfinite(tau) else None


def read_front(path: Path) -> Front:
    """Return the content of a pareto.json. Raises RunError that names the file when it is another."""
    return read_as(path, Front, "pareto")


def front_table(front: Front) -> str:
    """Return the front as text, a row a point, and what it dominates."""
    rows = []
    for cell in (*front.points, *front.published):
        accuracies = (f"{100 * result.accuracy:.1f}" for result in (cell.clean, cell.robust))
        sizes = (magnitude(cell.parameters), magnitude(cell.macs))
        rows.append([cell.name, asked_in_words(cell.asked), *sizes, *accuracies, "yes" if cell.on_front else ""])
    headings = ("point", "asked", "parameters", "MACs", CLEAN, front.points[0].robust.attack, "front")
    lines = text_table(headings, rows, words=("asked", "front"))
    judged = "in the supernet, on images that trained no weight and, since the search, no alpha"
    where = "retrained, on test images" if front.retrained else judged
    lines.append(f"Accuracy in %, {where}. Hypervolume {front.hypervolume:.3f} of 1, from {reference_in_words(front)}.")
    return "\n".join(lines)


def reference_in_words(front: Front) -> str:
    """Say where the hypervolume is measured from."""
    sizes = (magnitude(front.reference[size]) for size in ("parameters", "macs"))
    return "accuracies of 0, {} parameters and {} MACs".format(*sizes)


def asked_in_words(asked: Mapping[str, Any]) -> str:
    """Return what was asked of a point: a bound, or the preferences that differ from 1."""
    said = []
    for name, value in asked.items():
        if name == "preferences":
            said += [f"{objective} {weight:.2g}" for objective, weight in value.items() if weight != 1]
        else:
            said.append(f"{named(name)} {bound_in_words(value)}")
    return ", ".join(said) or ("-" if not asked else "all alike")


_MAXIMISED = list(BETTER_LARGE.values())


def _array(cells: Sequence[FrontCell]) -> NDArray[np.float64]:
    return np.array([cell.objectives for cell in cells], dtype=np.float64)
