"""What a finished meta-training leaves: theta.safetensors and its card, theta.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from learned_optimizers import Theta
from pipeline.meta_training.meta_recipe import STAGE
from pipeline.runs.files import write_json
from pipeline.runs.schemas import read_as
from pipeline.runs.stored_stages import ThetaFile


def write_result(
    folder: Path,
    theta: Theta,
    settings: Mapping[str, Any],
    judged: Sequence[Mapping[str, float]],
    seconds: float,
    imitation: Mapping[str, Any] | None = None,
) -> None:
    """Write theta and then its card, which says that the training is finished. judged: a row a judgement."""
    theta.save(folder / "theta.safetensors")
    write_json(
        folder / "theta.json",
        {
            "architecture": theta.architecture,
            "parameters": theta.num_parameters,
            "settings": settings,
            "imitation": imitation,
            "best": min(judged, key=lambda row: row["weighted"]),
            "curve": judged,
            "seconds": round(seconds, 1),
        },
    )


def read_finished(folder: Path) -> ThetaFile:
    """Read the card. Raises RunError that names the file where it is not what this stage writes."""
    return read_as(folder / "theta.json", ThetaFile, STAGE)


def is_scaled_by_starts(estimator: str, *, logarithmic: bool) -> bool:
    """Return whether losses are over those of a training's start alone, with no Adam beside."""
    return estimator == "backprop" and logarithmic


def describe(folder: Path) -> str:
    """What a finished training gave, in a line."""
    found = read_finished(folder)
    best, meta = found.best, found.settings["meta"]
    members = meta.get("population", {}).get("members", 0)
    is_of_start = members or is_scaled_by_starts(meta["estimator"], logarithmic=meta.get("logarithmic", False))
    scale = "1 is the loss at the start" if is_of_start else "0 is a swept Adam's best"
    of_many = f", the best of a population of {members} that trained itself" if members else ""
    return (
        f"{folder / 'theta.safetensors'}: {found.architecture}, {found.parameters:,} meta-parameters of outer "
        f"step {best.step}{of_many}; normalised loss on tasks that trained nothing {best.mean:.3f} over a training, "
        f"{best.last_median:.3f} at its end (median); {scale}"
    )
