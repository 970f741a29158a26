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
from learned_optimizers.meta_training.judging import Judging, Scaling
from learned_optimizers.meta_training.outer import Lengths, OuterTraining
from learned_optimizers.meta_training.truncated_unrolls import UnrollRecipe
from learned_optimizers.tasks import Bucket, buckets
from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.compute.stop_requests import stop_requests
from pipeline.compute.workers import Mapper, workers
from pipeline.errors import RunError
from pipeline.meta_training.imitation import after_imitation
from pipeline.meta_training.meta_figures import meta_pictures
from pipeline.runs.checkpoints import Checkpoints, going_on_from
from pipeline.runs.files import write_atomically, write_json
from pipeline.runs.metrics import MetricLog, read_metrics
from pipeline.runs.progress import progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings, plain
from pipeline.runs.schemas import read_as
from pipeline.runs.settings_record import keep_settings
from pipeline.runs.stored_stages import ScalesFile, ThetaFile
from pipeline.settings import Experiment, MetaSettings
from pipeline.training.learning_rate import cosine, set_learning_rate

STAGE = "meta_train"
NOT_OF_THE_RESULT = ("processes", "executor")  # of meta.<key>: where the work is done


@dataclass
class MetaTraining:
    """Outer training with what chooses the step to keep. scales: of the tasks that judge, by bucket.

    judged: a row a judgement.  best: theta's vector at the lowest weighted mean so far.
    imitation: how theta learned from a teacher, where it did.
    """

    outer: OuterTraining
    settings: MetaSettings
    scales: dict[Bucket, Tensor]
    judged: list[dict[str, float]] = field(default_factory=list)
    best: Tensor | None = None
    imitation: dict[str, Any] | None = None
    seconds: float = 0.0

    def judge(self, mapper: Mapper) -> dict[str, float]:
        """Judge theta on tasks that train nothing, and keep it where it is the best so far."""
        losses = torch.cat(list(mapper(Judging.__call__, self._judgings())), dim=1)
        row = {
            "step": self.outer.steps,
            "mean": losses[0].mean().item(),
            "last_mean": losses[1].mean().item(),
            "last_median": losses[1].median().item(),
            "weighted": losses[2].mean().item(),
        }
        if self.best is None or row["weighted"] < min(before["weighted"] for before in self.judged):
            self.best = self.outer.theta.vector()
        self.judged.append(row)
        return row

    def _judgings(self) -> list[Judging]:
        theta, settings = self.outer.theta, self.settings
        indices = judging_indices(settings)
        figures = {name: getattr(settings, name) for name in ("task_seed", "cap", "late", "logarithmic")}
        return [
            Judging(theta, bucket, indices, steps=settings.horizon, scale=scale, **figures)
            for bucket, scale in self.scales.items()
        ]

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
    Raises RunError before any work when the folder holds a training with other settings.
    """
    settings, meta = meta_settings(experiment), experiment.meta
    fabric = make_fabric(experiment.fabric)
    _trainer(meta)  # which may be refused
    with exclusive(folder, STAGE):
        if (folder / "theta.json").exists():
            check_same_settings(_read_finished(folder).settings, settings, folder)
            return load_theta(folder / "theta.safetensors")
        state = Checkpoints(folder, STAGE, fabric).begun_with(settings)
        keep_settings(folder, STAGE, experiment)
        with workers(meta.processes, meta.executor) as mapper:
            training = _prepared(folder, experiment, mapper, begun=state is not None)
            if state is not None:
                with going_on_from(folder):
                    training.restore(state)
            _train(training, folder, settings, fabric, mapper)
        return _finish(training, folder, settings)


def meta_settings(experiment: Experiment) -> dict[str, Any]:
    """Collect all that the result depends on."""
    settings = plain({"seed": experiment.seed, "meta": experiment.meta})
    for key in NOT_OF_THE_RESULT:
        del settings["meta"][key]
    return settings


def judging_indices(settings: MetaSettings) -> tuple[int, ...]:
    """Choose from each bucket's tasks those that judge: they come after those that train."""
    return tuple(range(settings.tasks, settings.tasks + settings.judged_tasks))


def _prepared(folder: Path, experiment: Experiment, mapper: Mapper, *, begun: bool) -> MetaTraining:
    """A training before its first step. begun: it goes on from a checkpoint, so that nothing is to be imitated."""
    meta = experiment.meta
    scales = _scales(folder, meta, mapper)
    of_training, of_judging = ({bucket: scale[part] for bucket, scale in scales.items()} for part in _parts(meta))
    seed = stream_seed(experiment.seed, STAGE)
    theta, imitation = new_theta(meta.architecture, generator=torch.Generator().manual_seed(seed)), None
    if meta.imitate.steps and not begun:
        theta, imitation = after_imitation(theta, meta, of_training, mapper, seed)
    outer = OuterTraining(
        theta,
        _recipe(meta, seed),
        of_training,
        lengths=Lengths(meta.first_length, meta.last_length, max(1, round(meta.ramp * meta.steps))),
        streams=meta.streams_a_step,
        learning_rate=meta.learning_rate,
        clip=meta.clip,
        trainer=_trainer(meta),
    )
    return MetaTraining(outer, meta, of_judging, imitation=imitation)


def _trainer(meta: MetaSettings) -> Theta | None:
    try:
        return None if meta.trainer is None else load_theta(meta.trainer)
    except (FileNotFoundError, ValueError) as error:
        raise RunError(f"meta.trainer: {error}") from None


def _parts(meta: MetaSettings) -> tuple[slice, slice]:
    """Split a bucket's scales into those that train and those that judge."""
    return slice(meta.tasks), slice(meta.tasks, None)


def _recipe(meta: MetaSettings, seed: int) -> UnrollRecipe:
    return UnrollRecipe(
        seed=seed,
        task_seed=meta.task_seed,
        estimator=meta.estimator,
        pairs=meta.pairs,
        sigma=meta.sigma,
        horizon=meta.horizon,
        full=meta.full,
        cap=meta.cap,
        outer_batches=meta.outer_batches,
        late=meta.late,
        logarithmic=meta.logarithmic,
    )


def _scales(folder: Path, meta: MetaSettings, mapper: Mapper) -> dict[Bucket, Tensor]:
    """Losses at the start and of the best Adam of all tasks, measured once a run folder."""
    names, path = buckets(meta.families), folder / "scales.json"
    asked = {key: getattr(meta, key) for key in ("tasks", "task_seed", "horizon", "judged_tasks")}
    asked["families"] = list(meta.families)
    known = read_as(path, ScalesFile, STAGE) if path.exists() else None
    if known is None or known.asked != asked or len(known.scales) != len(names):
        indices = (*range(meta.tasks), *judging_indices(meta))
        works = [Scaling(bucket, indices, meta.task_seed, meta.horizon) for bucket in names]
        found = []
        with progress_bar("scales of tasks", len(works)) as bar:
            for bucket, scale in zip(names, mapper(Scaling.__call__, works), strict=True):
                found.append(scale.tolist())
                bar.advance(bucket.family)
        known = ScalesFile(asked=asked, scales=found)
        write_json(path, known.model_dump(mode="json"))
    return dict(zip(names, map(torch.tensor, known.scales), strict=True))


def _train(training: MetaTraining, folder: Path, settings: dict[str, Any], fabric: Fabric, mapper: Mapper) -> None:
    outer, meta, checkpoints = training.outer, training.settings, Checkpoints(folder, STAGE, fabric)
    with (
        MetricLog(folder, STAGE, first_step=outer.steps) as log,
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
    theta.save(folder / "theta.safetensors")
    # last: this file says that the training is finished
    write_json(
        folder / "theta.json",
        {
            "architecture": theta.architecture,
            "parameters": theta.num_parameters,
            "settings": settings,
            "imitation": training.imitation,
            "best": min(training.judged, key=lambda row: row["weighted"]),
            "curve": training.judged,
            "seconds": round(training.seconds, 1),
        },
    )
    return theta


def _read_finished(folder: Path) -> ThetaFile:
    return read_as(folder / "theta.json", ThetaFile, STAGE)


def describe(folder: Path) -> str:
    """What a finished training gave, in a line."""
    found = _read_finished(folder)
    best = found.best
    return (
        f"{folder / 'theta.safetensors'}: {found.architecture}, {found.parameters:,} meta-parameters of outer "
        f"step {best.step}; normalised loss on tasks that trained nothing {best.mean:.3f} over a training, "
        f"{best.last_median:.3f} at its end (median); 0 is a swept Adam's best"
    )
