"""The training of a population as a stage: from random thetas to the best one, and the lineage it came by."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from learned_optimizers import Theta, load_theta, new_theta
from learned_optimizers.meta_training.population import OuterRecipe, Population, SelectionRules, first_members
from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.compute.stop_requests import stop_requests
from pipeline.compute.workers import Mapper, workers
from pipeline.meta_training.meta_recipe import (
    STAGE,
    exam_of,
    lengths_of,
    meta_settings,
    scales_of_training,
    unroll_recipe,
)
from pipeline.meta_training.population_figures import population_pictures
from pipeline.meta_training.task_scales import measured_scales
from pipeline.meta_training.theta_result import read_finished, write_result
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.files import write_atomically, write_json
from pipeline.runs.metrics import MetricLog
from pipeline.runs.progress import progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings
from pipeline.runs.schemas import read_as
from pipeline.runs.settings_record import keep_settings
from pipeline.runs.stored_stages import LINEAGE_FILE, LineageFile
from pipeline.settings import Experiment, MetaSettings


def train_population(folder: Path, experiment: Experiment) -> Theta:
    """Let a population train itself; write its best theta as theta.safetensors, theta.json and lineage.json.

    Also written are metrics.jsonl and figures/population-*.png. The theta is the one of the lowest score at any
    judgement. No hand-designed optimizer is called. Resumes and stops as `meta_train` does, in the same bits, in any
    number of processes. Raises RunError before any work when the folder holds a training with other settings.
    """
    settings, meta = meta_settings(experiment), experiment.meta
    fabric = make_fabric(experiment.fabric)
    with exclusive(folder, STAGE):
        if (folder / "theta.json").exists():
            check_same_settings(read_finished(folder).settings, settings, folder)
            return load_theta(folder / "theta.safetensors")
        checkpoints = Checkpoints(folder, STAGE, fabric)
        checkpoints.begun_with(settings)  # which may be refused
        keep_settings(folder, STAGE, experiment)
        with workers(meta.processes, meta.executor) as mapper:
            training = PopulationTraining(_first(folder, experiment, mapper), settings)
            checkpoints.resume(settings, training.restore)
            training.run(folder, experiment, fabric, mapper)
        return training.finish(folder, meta)


class PopulationTraining:
    """A population with the seconds that it took. settings: all that the result depends on."""

    def __init__(self, population: Population, settings: dict[str, Any]) -> None:
        self.population, self.settings, self.seconds = population, settings, 0.0

    def run(self, folder: Path, experiment: Experiment, fabric: Fabric, mapper: Mapper) -> None:
        """Make what is left of the outer steps; a signal is obeyed after the present one, with a checkpoint."""
        meta = experiment.meta
        population, checkpoints = self.population, Checkpoints(folder, STAGE, fabric)
        with (
            MetricLog(folder, STAGE, first_step=population.steps, logger=experiment.logger) as log,
            progress_bar("population", meta.steps, done=population.steps) as bar,
            stop_requests(fabric) as request,
        ):
            if not population.lineage:
                population.screen_random(meta.population.draws, meta.population.init_scale, mapper)
                population.judge(mapper)
                checkpoints.save(0, self.state())
            while population.steps < meta.steps:
                started = time.monotonic()
                losses = population.step(mapper)
                is_due = population.steps % meta.judge_every == 0 or population.steps == meta.steps
                if is_due:
                    population.judge(mapper, is_last=population.steps == meta.steps)
                log.write(population.steps - 1, _row(losses, population))
                bar.advance(_figures(losses, population))
                self.seconds += time.monotonic() - started
                if request.is_made() or is_due:
                    checkpoints.save(population.steps, self.state())
                request.obey()

    def state(self) -> dict[str, Any]:
        """Collect all that the next steps depend on, for a checkpoint."""
        return {"settings": self.settings, "population": self.population.state(), "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.population.restore(state["population"])
        self.seconds = state["seconds"]

    def finish(self, folder: Path, meta: MetaSettings) -> Theta:
        """Write the lineage, its pictures and the best theta."""
        population = self.population
        content = {"judge_every": meta.judge_every, "judgements": population.lineage}
        write_json(folder / LINEAGE_FILE, content)
        for picture in population_pictures(read_as(folder / LINEAGE_FILE, LineageFile, STAGE)):
            write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
        write_result(folder, population.best_theta, self.settings, population.judged, self.seconds)
        return population.best_theta


def _first(folder: Path, experiment: Experiment, mapper: Mapper) -> Population:
    """Return a population before its first step."""
    meta = experiment.meta
    scales = measured_scales(folder, meta, mapper, by_adam=False)
    recipe = OuterRecipe(
        unroll_recipe(meta, stream_seed(experiment.seed, STAGE)),
        scales_of_training(meta, scales),
        lengths_of(meta),
        meta.streams_a_step,
        meta.clip,
    )
    asked = meta.population
    members = first_members(meta.architecture, asked.members, recipe, scale=asked.init_scale, trainers=asked.trainers)
    like = new_theta(meta.architecture, generator=torch.Generator())
    return Population(like, members, recipe, SelectionRules.of(asked), exam_of(meta, scales))


def _row(losses: Sequence[float], population: Population) -> dict[str, Any]:
    """Figures of a step: the mean loss, each member's own, how many are lost, and the best one's judgement, if any."""
    row: dict[str, Any] = {"loss": sum(losses) / len(losses), "members": dict(enumerate(losses))}
    row["lost"] = sum(member.is_lost for member in population.members)
    judged = population.judged[-1]
    return row | ({"judged": judged} if judged["step"] == population.steps else {})


def _figures(losses: Sequence[float], population: Population) -> str:
    best = min(row["weighted"] for row in population.judged)
    lost = sum(member.is_lost for member in population.members)
    return f"lowest loss {min(losses):.3f}, best judged {best:.3f}" + (f", {lost} lost" if lost else "")
