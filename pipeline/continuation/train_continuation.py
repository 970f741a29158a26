"""The training of a network that continues Green's functions, as a stage that can be resumed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from analytic_continuation.training.batches import Batch, Stream, held_out
from analytic_continuation.training.calibration import calibrated, coverage
from analytic_continuation.training.network_training import NetworkTraining, judged
from analytic_continuation.unrolled.model_files import ContinuationModel
from analytic_continuation.unrolled.network import UnrolledNetwork
from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.compute.stop_requests import stop_requests
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.files import write_json
from pipeline.runs.metrics import MetricLog
from pipeline.runs.progress import progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings, plain
from pipeline.runs.schemas import read_as
from pipeline.runs.settings_record import keep_settings
from pipeline.runs.stored_stages import ContinuationFile
from pipeline.settings import ContinuationTrainingSettings, Experiment

STAGE = "train_continuation"
MODEL = "continuation.safetensors"
CARD = "continuation.json"
DECADES = tuple(range(-7, -1))  # log10 of the noise over the largest value, in which errors are told


@dataclass
class ContinuationTraining:
    """A training with its judgements. judged: a row each, with the step and the mean L1 error."""

    training: NetworkTraining
    batches: list[Batch]
    judged: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def judge(self) -> dict[str, Any]:
        """Measure the error on simulations that train nothing, in all and by decades of noise."""
        errors = judged(self.training.network, self.batches)
        by_decade = by_noise(errors, self.noise())
        row = {"step": self.training.steps_done, "error": errors.mean().item(), "by_noise": by_decade}
        self.judged.append(row)
        return row

    def noise(self) -> Tensor:
        """Return log10 of the noise of every judged problem, over its largest value."""
        return torch.cat([batch.noise for batch in self.batches]).log10()

    def state(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Collect all that the next steps depend on, for a checkpoint."""
        kept = {"training": self.training.state(), "judged": self.judged, "seconds": self.seconds}
        return {"settings": settings, **kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.training.restore(state["training"])
        self.judged, self.seconds = state["judged"], state["seconds"]


def train_continuation(folder: Path, experiment: Experiment) -> Path:
    """Train a network and write continuation.safetensors, its card continuation.json, and metrics.jsonl.

    A folder with a finished training is left as it is; an unfinished one goes on after its last checkpoint and ends in
    the same bits as one that was never stopped. Returns the path of the model.
    Raises RunError before any work when the folder holds a training with other settings.
    """
    asked = experiment.continuation_training
    settings = plain({"seed": experiment.seed, "continuation_training": asked})
    fabric = make_fabric(experiment.fabric)
    with exclusive(folder, STAGE):
        if (folder / CARD).exists():
            check_same_settings(read_as(folder / CARD, ContinuationFile, STAGE).settings, settings, folder)
            return folder / MODEL
        checkpoints = Checkpoints(folder, STAGE, fabric)
        training = _prepared(asked, stream_seed(experiment.seed, STAGE))
        checkpoints.resume(settings, training.restore)
        keep_settings(folder, STAGE, experiment)
        _train(training, folder, settings, experiment, fabric)
        _finish(training, folder, settings, asked, stream_seed(experiment.seed, STAGE))
    return folder / MODEL


def _prepared(asked: ContinuationTrainingSettings, seed: int) -> ContinuationTraining:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UnrolledNetwork(asked.stages, asked.channels)
    training = NetworkTraining(
        network,
        seed=seed,
        steps=asked.steps,
        batch_size=asked.batch_size,
        learning_rate=asked.learning_rate,
        final_rate=asked.final_rate,
        clip=asked.clip,
        shapes=asked.shapes,
    )
    judging = held_out(Stream.JUDGES, asked.judged_batches, asked.batch_size, seed, asked.shapes)
    return ContinuationTraining(training, judging)


def _train(
    state: ContinuationTraining,
    folder: Path,
    settings: dict[str, Any],
    experiment: Experiment,
    fabric: Fabric,
) -> None:
    asked = experiment.continuation_training
    training, checkpoints = state.training, Checkpoints(folder, STAGE, fabric)
    with (
        MetricLog(folder, STAGE, first_step=training.steps_done, logger=experiment.logger) as log,
        progress_bar("training", asked.steps, done=training.steps_done) as bar,
        stop_requests(fabric) as request,
    ):
        while training.steps_done < asked.steps:
            started = time.monotonic()
            row: dict[str, Any] = dict(training.step())
            is_due = training.steps_done % asked.judge_every == 0 or training.steps_done == asked.steps
            if is_due:
                row["judged"] = state.judge()
            log.write(training.steps_done - 1, row)
            bar.advance(_figures(row["error"], state.judged))
            state.seconds += time.monotonic() - started
            if request.is_made() or is_due:
                checkpoints.save(training.steps_done, state.state(settings))
            request.obey()


def _figures(error: float, judged_rows: list[dict[str, Any]]) -> str:
    return f"L1 error {error:.3f}" + (f", judged {judged_rows[-1]['error']:.3f}" if judged_rows else "")


def by_noise(figures: Tensor, noise: Tensor) -> dict[str, float]:
    """Return mean figures by the decade of the noise, those without a problem left out; noise: log10, [problems]."""
    found = {}
    for low in DECADES:
        held = figures[(noise >= low) & (noise < low + 1)]
        if len(held):
            found[f"1e{low}..1e{low + 1}"] = held.mean().item()
    return found


def _finish(
    state: ContinuationTraining,
    folder: Path,
    settings: dict[str, Any],
    asked: ContinuationTrainingSettings,
    seed: int,
) -> None:
    network = state.training.network.eval()
    calibrating = held_out(Stream.CALIBRATES, asked.calibration_batches, asked.batch_size, seed, asked.shapes)
    bands = calibrated(network, calibrating)
    model = ContinuationModel(network, bands, asked.stages, asked.channels)
    model.save(folder / MODEL)
    # last: this file says that the training is finished
    write_json(
        folder / CARD,
        {
            "parameters": model.num_parameters,
            "settings": settings,
            "curve": state.judged,
            "coverage": by_noise(coverage(network, bands, state.batches).values, state.noise()),
            "seconds": round(state.seconds, 1),
        },
    )


def describe(folder: Path) -> str:
    """What a finished training gave, in a line."""
    found = read_as(folder / CARD, ContinuationFile, STAGE)
    errors = ", ".join(f"{error:.3f} at noise {name}" for name, error in found.curve[-1].by_noise.items())
    return (
        f"{folder / MODEL}: {found.parameters:,} weights; L1 error on simulations that trained nothing "
        f"{found.curve[-1].error:.3f} ({errors})"
    )
