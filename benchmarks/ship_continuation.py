"""Ship a trained network of analytic continuation with its card, which says what it was trained on and measures it.

    python scripts/train_continuation.py experiment=continuation
    python benchmarks/ship_continuation.py runs/continuation                             # as gaussians, the default
    python benchmarks/ship_continuation.py runs/wide --name wide --replace

Writes analytic_continuation/trained/<name>.safetensors and <name>.json. Errors and coverage are measured on simulations
of the training distribution that neither trained, nor judged, nor calibrated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analytic_continuation.names import DEFAULT_MODEL, TRAINING_SHAPES
from analytic_continuation.training.batches import FREQUENCIES, INVERSE_TEMPERATURES, NOISE, TIMES, Stream, held_out
from analytic_continuation.training.calibration import coverage
from analytic_continuation.training.network_training import judged
from analytic_continuation.unrolled.model_files import TRAINED, load_model
from pipeline.compute.seeds import stream_seed
from pipeline.continuation.train_continuation import CARD, MODEL, STAGE, by_noise
from pipeline.errors import RunError
from pipeline.runs.files import write_json
from pipeline.runs.schemas import read_as
from pipeline.runs.stored_stages import ContinuationFile

BATCHES, SIZE = 40, 40
DIGITS = 4


def card(folder: Path, found: ContinuationFile, batches: int = BATCHES) -> dict[str, Any]:
    """Measure the model of a finished training and return its card. found: what the training says of itself."""
    model = load_model(folder / MODEL)
    asked = found.settings["continuation_training"]
    shapes, seed = str(asked["shapes"]), stream_seed(int(found.settings["seed"]), STAGE)
    fresh = held_out(Stream.TELLS, batches, SIZE, seed, shapes)
    noise = torch.cat([batch.noise for batch in fresh]).log10()
    errors, covered = judged(model.network, fresh), coverage(model.network, model.bands, fresh)
    low, high = NOISE
    return {
        "parameters": model.num_parameters,
        "command": "python scripts/train_continuation.py experiment=continuation"
        + (f" continuation_training.shapes={shapes}" if shapes != DEFAULT_MODEL else ""),
        "trained_on": f"simulated spectra: {TRAINING_SHAPES[shapes]}",
        "noise": f"10^{low:g} to 10^{high:g} of the largest value",
        "beta_times_half_window": list(INVERSE_TEMPERATURES),
        "points": "{} to {} Matsubara frequencies, {} to {} imaginary times".format(*FREQUENCIES, *TIMES),
        "measured_on": f"{len(errors):,} fresh simulations of the same distribution, noise over the largest value",
        "error": _mean(errors),
        "error_by_noise": _rounded(by_noise(errors, noise)),
        "coverage": _mean(covered.values),
        "coverage_by_noise": _rounded(by_noise(covered.values, noise)),
        "coverage_of_peak_positions": _mean(covered.positions),
        "coverage_of_peak_weights": _mean(covered.weights),
        "peaks": len(covered.positions),
        "settings": found.settings,
        "curve": [row.model_dump(mode="json") for row in found.curve],
        "seconds": found.seconds,
    }


def _mean(values: Tensor) -> float:
    return round(values.double().mean().item(), DIGITS)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in values.items()}


def ship(folder: Path, name: str, target: Path = TRAINED, *, replace: bool = False, batches: int = BATCHES) -> Path:
    """Write the model of a finished training and its card under a name; return the card's path.

    Raises RunError, before anything is written, where there is no finished training, or another model of that name.
    """
    model, told = target / f"{name}.safetensors", target / f"{name}.json"
    trained = read_as(folder / CARD, ContinuationFile, STAGE)
    if model.exists() and not replace:
        raise RunError(f"{model} exists; choose another --name, or --replace it")
    found = card(folder, trained, batches)
    load_model(folder / MODEL).save(model)
    write_json(told, found)
    return told


def main() -> None:
    """Read the command line and ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="run folder of a finished training")
    parser.add_argument("--name", default=DEFAULT_MODEL)
    parser.add_argument("--replace", action="store_true", help="overwrite the model that has this name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        print(ship(arguments.folder, arguments.name, replace=arguments.replace))
    except (RunError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
