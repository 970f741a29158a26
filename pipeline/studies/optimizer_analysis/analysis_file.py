"""What an analysis found, as analysis.json holds it: the figures of all pictures and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learned_optimizers.analysis import Analysis, verdicts_on
from learned_optimizers.analysis.linearisation import Mode
from pipeline.runs.schemas import Count, Environment, Figure, Schema, Share, read_as

ANALYSIS_FILE = "analysis.json"
BINS = 40  # of the gradients met
Figures = tuple[Figure, ...]


class StoredVerdict(Schema):
    """A mechanism, whether it was found, the figure that this rests on, and a sentence."""

    mechanism: str
    found: bool
    figure: str
    said: str


class StoredMode(Schema):
    """A mode of the dynamics. decay, step_size: real and imaginary part.  strength: length of its response."""

    decay: tuple[Figure, Figure]
    step_size: tuple[Figure, Figure]
    strength: Figure


class StoredMomentum(Schema):
    """Modes, strongest first. gradient: under which the state stays.  slowest, median: speeds of the fixed points."""

    gradient: Figure
    modes: tuple[StoredMode, ...]
    optimum: StoredMode | None
    slowest: Figure
    median: Figure


class StoredClipping(Schema):
    """Update against gradient. bins, counts: sizes of the gradients met, their edges and how many lie between."""

    gradients: Figures
    updates: Figures
    slope: Figure
    far: Figure
    far_slope: Figure
    knee: Figure | None
    beyond: Share
    bins: Figures
    counts: tuple[Count, ...]


class StoredAdaptation(Schema):
    """Slope at gradient 0 and gain of settled states, by the size of the gradients that they settled under."""

    sizes: Figures
    slopes: Figures
    gains: Figures
    exponent: Figure


class StoredStates(Schema):
    """States met on their two main directions. trajectories: [elements][steps] of pairs."""

    shares: tuple[Share, Share]
    trajectories: tuple[tuple[tuple[Figure, Figure], ...], ...]
    settled: tuple[Figure, Figure]


class StoredUpdate(Schema):
    """Update against gradient after so many steps of a training."""

    step: Count
    gradients: Figures
    updates: Figures


class AnalysisFile(Schema):
    """The content of analysis.json. losses: mean f_t / f_0 of each step.  sgd: best rate, and its mean of these."""

    command: str
    optimizer: str
    rows: Count
    family: str
    trainings: Count
    middle: Count
    settings: dict[str, Any]
    verdicts: tuple[StoredVerdict, ...]
    momentum: StoredMomentum
    clipping: StoredClipping
    rates: Figures
    adaptation: StoredAdaptation
    states: StoredStates | None
    updates: tuple[StoredUpdate, ...]
    losses: Figures
    relative_loss: Figure
    sgd: tuple[Figure, Figure]
    environment: Environment


def read_analysis(folder: Path) -> AnalysisFile:
    """Read a folder's analysis. Raises RunError that names the file where it is damaged."""
    return read_as(folder / ANALYSIS_FILE, AnalysisFile, "analyse_optimizer")


def stored_parts(found: Analysis) -> dict[str, Any]:
    """Return what an `AnalysisFile` holds of an analysis, by name."""
    states = found.principal
    return {
        "middle": found.moment.step,
        "verdicts": tuple(StoredVerdict(**vars(verdict)) for verdict in verdicts_on(found)),
        "momentum": _momentum(found),
        "clipping": _clipping(found),
        "rates": _figures(found.schedule.rates),
        "adaptation": StoredAdaptation(
            sizes=_figures(found.adaptation.sizes),
            slopes=_figures(found.adaptation.slopes),
            gains=_figures(found.adaptation.gains),
            exponent=_figure(found.adaptation.exponent),
        ),
        "states": None
        if states is None
        else StoredStates(
            shares=(min(1.0, _figure(states.shares[0])), min(1.0, _figure(states.shares[1]))),
            trajectories=tuple(tuple(map(_pair, elements)) for elements in states.trajectories),
            settled=_pair(states.settled),
        ),
        "updates": tuple(
            StoredUpdate(step=each.step, gradients=_figures(each.gradients), updates=_figures(each.updates))
            for each in found.updates
        ),
        "losses": _figures((found.visited.losses / found.visited.losses[:1]).mean(1)),
        "relative_loss": found.visited.relative_loss,
        "sgd": found.sgd,
    }


def _momentum(found: Analysis) -> StoredMomentum:
    speeds = found.momentum.speeds[found.momentum.speeds.isfinite()]
    return StoredMomentum(
        gradient=found.momentum.gradient,
        modes=tuple(map(_mode, found.momentum.modes)),
        optimum=None if found.optimum is None else _mode(found.optimum),
        slowest=speeds.min().item(),
        median=speeds.median().item(),
    )


def _clipping(found: Analysis) -> StoredClipping:
    clip, met = found.clipping, found.visited.gradients.abs().flatten()
    edges = torch.logspace(*_decades(met), BINS + 1, dtype=torch.float64)
    places = torch.bucketize(met.clamp(edges[0], edges[-1]), edges[1:-1])
    return StoredClipping(
        gradients=_figures(clip.gradients),
        updates=_figures(clip.updates),
        slope=_figure(clip.slope),
        far=clip.far,
        far_slope=_figure(clip.far_slope),
        knee=clip.knee if clip.knee < 1e100 else None,
        beyond=clip.beyond,
        bins=_figures(edges),
        counts=tuple(torch.bincount(places, minlength=BINS).tolist()),
    )


def _decades(sizes: Tensor) -> tuple[float, float]:
    """Powers of ten between which the sizes lie; what is below a millionth of the largest counts as that."""
    largest = max(sizes.max().item(), 1e-30)
    smallest = max(sizes.min().item(), 1e-6 * largest)
    low, high = torch.tensor([smallest, largest]).double().log10().tolist()
    return low - 0.05, high + 0.05


def _mode(mode: Mode) -> StoredMode:
    decay, step_size = ((_figure(value.real), _figure(value.imag)) for value in (mode.decay, mode.step_size))
    return StoredMode(decay=decay, step_size=step_size, strength=_figure(mode.strength))


def _figure(value: float | Tensor) -> float:
    """A number that JSON holds, with eight digits."""
    return float(f"{min(max(float(value), -1e100), 1e100):.8g}")


def _figures(values: Tensor) -> tuple[float, ...]:
    return tuple(_figure(value) for value in values.nan_to_num().tolist())


def _pair(values: Tensor) -> tuple[float, float]:
    first, second = _figures(values)
    return first, second
