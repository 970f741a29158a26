"""The search as a stage: from images to a genotype in a run folder, resumed where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save
from torch import Tensor

from pipeline.compute.environment import environment
from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.compute.stop_requests import StopRequest, stop_requests
from pipeline.data import ImageData
from pipeline.networks.genotype_reference import read_genotype
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.files import write_atomically, write_json
from pipeline.runs.metrics import MetricLog
from pipeline.runs.progress import Bar, progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings, what_training_depends_on
from pipeline.runs.schemas import read_as
from pipeline.runs.settings_record import keep_settings
from pipeline.runs.stored_stages import SearchFile
from pipeline.search.bilevel import BilevelSearch
from pipeline.search.collapse.signs import signs_of_collapse
from pipeline.search.objectives import project_onto_bounds
from pipeline.search.search_images import STAGE
from pipeline.search.selection.candidate_selection import Candidate, best_first, draw_candidates, try_cells
from pipeline.search.selection.supernet_ranking import (
    best_by_supernet,
    check_supernet_ranking,
    supernet_ranking_settings,
)
from pipeline.settings import Experiment
from pipeline.training.optimizers import rate_of_epoch, set_learning_rate
from pipeline.training.steps import naming
from search_space import Genotype
from search_space.drawing.draw import save_cell


def search(folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric) -> Genotype:
    """Search a cell and write genotype.json, search.json, alphas.safetensors, metrics.jsonl and the cells' pictures.

    A folder with a finished search returns its genotype; one with an unfinished search resumes after its last
    checkpoint and ends, on the CPU, in the same bits as a search that was never stopped. There is one after each epoch,
    and one where a signal asked to stop, which raises Interrupted. Raises ValueError before any work when bounds
    cannot be met, batches do not fit, or the folder holds a search with other settings.
    """
    settings = search_settings(experiment)
    bilevel = BilevelSearch(experiment, data, fabric)
    if experiment.search.selection.pool is not None:
        check_supernet_ranking(experiment, data, fabric)
    with exclusive(folder, STAGE, take=fabric.is_global_zero):
        if (folder / "search.json").exists():
            finished = read_as(folder / "search.json", SearchFile, STAGE)
            check_same_settings(finished.settings, settings, folder)
            return read_genotype(folder / "genotype.json")
        checkpoints = Checkpoints(folder, STAGE, fabric)
        checkpoints.resume(settings, bilevel.restore)
        if fabric.is_global_zero:
            keep_settings(folder, STAGE, experiment)
        _train(bilevel, folder, settings, checkpoints)
        tried = _candidates_tried(bilevel, folder, data)
        return _finish(bilevel, folder, settings, tried)


def search_settings(experiment: Experiment) -> dict[str, Any]:
    """All that a search's result depends on."""
    names, selection = ["space", "objectives", "attack", "search"], experiment.search.selection
    if selection.candidates > 1:
        names.append("retrain")
    judging = {} if selection.pool is None else {"pareto": supernet_ranking_settings(experiment)}
    return what_training_depends_on(experiment, *names) | judging


def _train(bilevel: BilevelSearch, folder: Path, settings: dict[str, Any], checkpoints: Checkpoints) -> None:
    search, fabric = bilevel.experiment.search, bilevel.fabric
    with (
        MetricLog(folder, STAGE, first_step=bilevel.steps, write=fabric.is_global_zero) as log,
        progress_bar(
            "search", search.epochs * bilevel.steps_per_epoch, done=bilevel.steps, show=fabric.is_global_zero
        ) as bar,
        stop_requests(fabric) as request,
    ):
        while bilevel.epoch < search.epochs and not bilevel.guard.has_stopped:
            started = time.monotonic()
            signs = _run_epoch(bilevel, log, bar, request)
            if signs is not None:
                _end_epoch(bilevel, signs)
            bilevel.seconds += time.monotonic() - started
            checkpoints.save(bilevel.steps, bilevel.state(settings))
            if fabric.is_global_zero and bilevel.history:
                _write_alphas(folder, bilevel.history)
            request.obey()


def _run_epoch(bilevel: BilevelSearch, log: MetricLog, bar: Bar, request: StopRequest) -> dict[str, Any] | None:
    """Signs of collapse after the last step of the present epoch; None where a request comes before it."""
    search, optimizer = bilevel.experiment.search, bilevel.experiment.weight_optimizer
    rate = rate_of_epoch(optimizer, bilevel.epoch, search.epochs, search.final_rate)
    set_learning_rate(bilevel.weight_optimizer, rate)
    seed_stream(bilevel.experiment.seed, STAGE, bilevel.epoch, bilevel.fabric.global_rank)
    for train, valid in bilevel.batches():
        step, batch, signs = bilevel.steps, bilevel.steps_of_epoch + 1, None
        with naming(f"search step {step}, epoch {bilevel.epoch}, batch {batch} of {bilevel.steps_per_epoch}"):
            row = bilevel.step(train, valid)
            if batch == bilevel.steps_per_epoch:
                signs = bilevel.diagnose()
                row |= {"diagnostics": signs}
        log.write(step, {"epoch": bilevel.epoch, "learning_rate": rate, **row})
        bar.advance(f"epoch {bilevel.epoch + 1}/{search.epochs} | {_figures(row)}")
        bilevel.steps_of_epoch = batch
        if request.is_made():
            break
    return signs


def _end_epoch(bilevel: BilevelSearch, signs: dict[str, Any]) -> None:
    has_chosen = not bilevel.is_warming_up
    bilevel.epoch, bilevel.steps_of_epoch = bilevel.epoch + 1, 0
    bilevel.history.append(bilevel.alphas.detach().cpu().clone())
    if has_chosen:
        _obey(bilevel, signs)


def _obey(bilevel: BilevelSearch, signs: dict[str, Any]) -> None:
    """Go back where the guard says so; a search that is stopped ends with the alphas that it goes back to."""
    back_to = bilevel.guard.watch(bilevel.epoch, signs)
    if back_to is None:
        return
    bilevel.go_back(back_to)
    if bilevel.guard.has_stopped:
        del bilevel.history[back_to:]
        return
    for group in bilevel.weight_optimizer.param_groups:
        group["weight_decay"] *= bilevel.experiment.search.guard.decay_factor


def _figures(row: dict[str, Any]) -> str:
    objectives = row.get("objectives", {"warm-up": row["training_loss"]})
    shown = {name: value for name, value in objectives.items() if value > 0}  # a bound that is met is 0
    figures = " ".join(f"{name[:3]} {value:.2f}" for name, value in shown.items())
    derived = row["derived"]
    return f"{figures} | {derived['parameters'] / 1e6:.3f}M {derived['conv_linear_macs'] / 1e6:.1f}M MACs"


def _write_alphas(folder: Path, history: Sequence[Tensor]) -> None:
    write_atomically(
        folder / "alphas.safetensors", save({f"epoch_{epoch:05d}": alphas for epoch, alphas in enumerate(history, 1)})
    )


def _candidates_tried(bilevel: BilevelSearch, folder: Path, data: ImageData) -> list[Candidate]:
    """The alphas' likeliest cells, the best first; the derived one alone, untried, unless more are asked for.

    Of a pool that is larger than the candidates, those that the supernet judges best.
    """
    project_onto_bounds(bilevel.bounds, bilevel.table, bilevel.alphas, relaxation=bilevel.relaxation)
    bilevel.history[-1] = bilevel.alphas.detach().cpu().clone()
    experiment, selection = bilevel.experiment, bilevel.experiment.search.selection
    genotypes = draw_candidates(
        selection.pool or selection.candidates,
        bilevel.history[-1],
        table=bilevel.table,
        bounds=bilevel.bounds,
        relaxation=bilevel.relaxation,
        generator=torch.Generator().manual_seed(stream_seed(experiment.seed, STAGE, "selection")),
    )
    if len(genotypes) > selection.candidates:
        genotypes = best_by_supernet(selection.candidates, folder, experiment, data, bilevel.fabric, genotypes)
    if selection.candidates == 1:
        return [Candidate(genotypes[0])]
    tried = try_cells(folder / "selection", experiment, data, bilevel.fabric, genotypes)
    return [tried[index] for index in best_first(tried)]


def _finish(bilevel: BilevelSearch, folder: Path, settings: dict[str, Any], tried: Sequence[Candidate]) -> Genotype:
    genotype = tried[0].genotype
    cost = bilevel.cost_of(genotype)
    if not bilevel.fabric.is_global_zero:
        return genotype
    _write_alphas(folder, bilevel.history)
    for name, cell in genotype.cells.items():
        save_cell(cell, folder / f"{name}.svg")
    write_atomically(folder / "genotype.json", genotype.to_json())
    bounds = {
        name: {"lower": bound.lower, "upper": bound.upper, "value": cost[bound.quantity]}
        | {"violation": bound.violation(torch.tensor(float(cost[bound.quantity]), dtype=torch.float64)).item()}
        for name, bound in bilevel.bounds.items()
    }
    # last: this file says that the search is finished
    write_json(
        folder / "search.json",
        {
            "settings": settings,
            "derived_cost": cost,
            "bounds": bounds,
            "diagnostics": signs_of_collapse(bilevel.supernet, genotype),
            "guard": bilevel.guard.events,
            "selection": [cell.as_dict() for cell in tried if cell.accuracies],
            "seconds": round(bilevel.seconds, 1),
            "environment": environment(),
        },
    )
    return genotype
