"""The training of a learned optimizer as a stage: from families of tasks to theta.safetensors in a run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from learned_optimizers import Theta, load_theta, new_theta
from learned_optimizers.meta_training.backpropagation import BackpropagationRecipe, BackpropagationTraining
from learned_optimizers.meta_training.judging import ThetaExam
from learned_optimizers.meta_training.outer import OuterTraining
from learned_optimizers.tasks import Bucket
from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.compute.stop_requests import stop_requests
from pipeline.compute.workers import Mapper, workers
from pipeline.errors import RunError
from pipeline.meta_training.imitation import after_imitation
from pipeline.meta_training.meta_figures import meta_pictures
from pipeline.meta_training.meta_recipe import (
    STAGE,
    exam_of,
    lengths_of,
    meta_settings,
    scales_of_training,
    unroll_recipe,
)
from pipeline.meta_training.population_training import train_population
from pipeline.meta_training.task_scales import measured_scales
from pipeline.meta_training.theta_result import is_scaled_by_starts, read_finished, write_result
from pipeline.runs.checkpoints import Checkpoints, going_on_from
from pipeline.runs.files import write_atomically
from pipeline.runs.metrics import MetricLog, read_metrics
from pipeline.runs.progress import progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings
from pipeline.runs.settings_record import keep_settings
from pipeline.settings import Experiment, LoggerSettings, MetaSettings
from pipeline.training.learning_rate import cosine, set_learning_rate


@dataclass
class MetaTraining:
    """Outer training with what chooses the step to keep. exam: the tasks that judge.

    judged: a row a judgement.  best: theta's vector at the lowest weighted mean so far.
    imitation: how theta learned from a teacher, where it did.
    """

    outer: OuterTraining | BackpropagationTraining
    settings: MetaSettings
    exam: ThetaExam
    judged: list[dict[str, float]] = field(default_factory=list)
    best: Tensor | None = None
    imitation: dict[str, Any] | None = None
    seconds: float = 0.0

    def judge(self, mapper: Mapper) -> dict[str, float]:
        """Judge theta on tasks that train nothing, and keep it where it is the best so far."""
        (score,) = self.exam.scores([self.outer.theta], mapper)
        row = {"step": self.outer.steps, **score}
        if self.best is None or row["weighted"] < min(before["weighted"] for before in self.judged):
            self.best = self.outer.theta.vector()
        self.judged.append(row)
        return row

    def best_theta(self) -> Theta:
        """The theta to keep."""
        return self.outer.theta if self.best is None else self.outer.theta.with_vector(self.best)

    def state(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Collect all that the next steps depend on, for a checkpoint."""
        return {
            "settings": settings,
            "outer": self.outer.state(),
            "judged": self.judged,
            "best": self.best,
            "imitation": self.imitation,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.outer.restore(state["outer"])
        self.judged, self.best = state["judged"], state["best"]
        self.imitation, self.seconds = state["imitation"], state["seconds"]


def meta_train(folder: Path, experiment: Experiment) -> Theta:
    """Train a learned optimizer and write theta.safetensors, theta.json, metrics.jsonl and figures/meta-*.png.

    A folder with a finished training returns its theta; one with an unfinished training resumes after its last
    checkpoint and ends in the same bits as one that was never stopped, in any number of processes of as many threads.
    A signal to stop writes a checkpoint after the present step and raises Interrupted.
    With meta.population.members a population trains itself, as `train_population` says.
    Raises RunError before any work when the folder holds a training with other settings.
    """
    if experiment.meta.population.members:
        return train_population(folder, experiment)
    settings, meta = meta_settings(experiment), experiment.meta
    fabric = make_fabric(experiment.fabric)
    _trainer(meta)  # which may be refused
    with exclusive(folder, STAGE):
        if (folder / "theta.json").exists():
            check_same_settings(read_finished(folder).settings, settings, folder)
            return load_theta(folder / "theta.safetensors")
        state = Checkpoints(folder, STAGE, fabric).begun_with(settings)
        keep_settings(folder, STAGE, experiment)
        with workers(meta.processes, meta.executor) as mapper:
            training = _prepared(folder, experiment, mapper, begun=state is not None)
            if state is not None:
                with going_on_from(folder):
                    training.restore(state)
            _train(training, folder, settings, fabric, mapper, experiment.logger)
        return _finish(training, folder, settings)


def _prepared(folder: Path, experiment: Experiment, mapper: Mapper, *, begun: bool) -> MetaTraining:
    """A training before its first step. begun: it goes on from a checkpoint, so that nothing is to be imitated."""
    meta = experiment.meta
    by_adam = not is_scaled_by_starts(meta.estimator, logarithmic=meta.logarithmic)
    scales = measured_scales(folder, meta, mapper, by_adam=by_adam)
    of_training = scales_of_training(meta, scales)
    seed = stream_seed(experiment.seed, STAGE)
    theta, imitation = new_theta(meta.architecture, generator=torch.Generator().manual_seed(seed)), None
    if meta.imitate.steps and not begun:
        theta, imitation = after_imitation(theta, meta, of_training, mapper, seed)
    outer = _outer(theta, meta, of_training, seed)
    return MetaTraining(outer, meta, exam_of(meta, scales), imitation=imitation)


def _outer(
    theta: Theta, meta: MetaSettings, scales: dict[Bucket, Tensor], seed: int
) -> OuterTraining | BackpropagationTraining:
    """What takes the outer steps. scales: of the tasks that train."""
    if meta.estimator == "backprop":
        recipe = BackpropagationRecipe(
            *(seed, meta.task_seed, meta.pairs, meta.tasks, meta.horizon, meta.cap, meta.penalty),
            least_horizon=meta.least_horizon,
            late=meta.late,
            logarithmic=meta.logarithmic,
        )
        rates = {"learning_rate": meta.learning_rate, "epsilon": meta.epsilon}
        return BackpropagationTraining(theta, recipe, list(scales), **rates, clip=meta.clip)
    return OuterTraining(
        theta,
        unroll_recipe(meta, seed),
        scales,
        lengths=lengths_of(meta),
        streams=meta.streams_a_step,
        learning_rate=meta.learning_rate,
        clip=meta.clip,
        trainer=_trainer(meta),
    )


def _trainer(meta: MetaSettings) -> Theta | None:
    try:
        return None if meta.trainer is None else load_theta(meta.trainer)
    except (FileNotFoundError, ValueError) as error:
        raise RunError(f"meta.trainer: {error}") from None


def _train(
    training: MetaTraining,
    folder: Path,
    settings: dict[str, Any],
    fabric: Fabric,
    mapper: Mapper,
    logger: LoggerSettings,
) -> None:
    outer, meta, checkpoints = training.outer, training.settings, Checkpoints(folder, STAGE, fabric)
    with (
        MetricLog(folder, STAGE, first_step=outer.steps, logger=logger) as log,
        progress_bar("meta-training", meta.steps, done=outer.steps) as bar,
        stop_requests(fabric) as request,
    ):
        if training.imitation and not training.judged:
            training.judge(mapper)  # the first to be chosen from, and all that imitation was for
            checkpoints.save(outer.steps, training.state(settings))
        while outer.steps < meta.steps:
            started, first = time.monotonic(), meta.learning_rate
            if meta.trainer is None:
                set_learning_rate(outer.optimizer, cosine(outer.steps, meta.steps, first, first * meta.final_rate))
            row: dict[str, Any] = dict(outer.step(mapper))
            is_due = outer.steps % meta.judge_every == 0 or outer.steps == meta.steps
            if is_due:
                row["judged"] = training.judge(mapper)
            log.write(outer.steps - 1, row)
            bar.advance(_figures(row["loss"], training.judged))
            training.seconds += time.monotonic() - started
            if request.is_made() or is_due:
                checkpoints.save(outer.steps, training.state(settings))
            request.obey()


def _figures(loss: float, judged: Sequence[dict[str, float]]) -> str:
    best = min((row["weighted"] for row in judged), default=None)
    return f"normalised loss {loss:.3f}" + ("" if best is None else f", best judged {best:.3f}")


def _finish(training: MetaTraining, folder: Path, settings: dict[str, Any]) -> Theta:
    theta = training.best_theta()
    for picture in meta_pictures(read_metrics(folder, STAGE), training.judged):
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_result(folder, theta, settings, training.judged, training.seconds, training.imitation)
    return theta
