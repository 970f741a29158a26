"""The search as a stage: from images to a genotype in a run folder, resumed where it was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save
from torch import Tensor

from pipeline.compute.environment import environment
from pipeline.compute.seeds import stream_seed
from pipeline.compute.stop_requests import StopRequest, stop_requests
from pipeline.data import ImageData
from pipeline.evaluation.evaluate import check_number_of_images
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
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.search.collapse.signs import signs_of_collapse
from pipeline.search.objectives import exact_cost
from pipeline.search.search_images import STAGE
from pipeline.search.selection.candidate_selection import Candidate, best_first, draw_candidates, try_cells
from pipeline.search.selection.perturbation import operations_missed
from pipeline.search.selection.predicted_choice import JudgedPool, try_predicted
from pipeline.search.selection.supernet_ranking import (
    best_judged,
    check_supernet_ranking,
    judge_pool,
    supernet_ranking_settings,
)
from pipeline.settings import Experiment
from pipeline.training.optimizers import advising
from pipeline.training.steps import naming
from search_space import Genotype
from search_space.drawing import draw


def search(folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric) -> Genotype:
    """Search a cell and write genotype.json, search.json, alphas.safetensors, metrics.jsonl and the cells' pictures.

    A folder with a finished search returns its genotype; one with an unfinished search resumes after its last
    checkpoint and ends, on the CPU, in the same bits as a search that was never stopped. There is one after each epoch,
    and one where a signal asked to stop, which raises Interrupted. Raises ValueError before any work when bounds
    cannot be met, batches do not fit, or the folder holds a search with other settings.
    """
    check_number_of_images(data, experiment.evaluate.images)
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
    epochs, fabric, state = bilevel.experiment.search.epochs, bilevel.fabric, bilevel.state
    with (
        MetricLog(
            folder, STAGE, first_step=state.steps, write=fabric.is_global_zero, logger=bilevel.experiment.logger
        ) as log,
        progress_bar("search", epochs * state.steps_per_epoch, done=state.steps, show=fabric.is_global_zero) as bar,
        stop_requests(fabric) as request,
        advising(bilevel.weight_step.optimizer),
    ):
        while state.epoch < epochs and not bilevel.guard.has_stopped:
            with state.timed():
                signs = _run_epoch(bilevel, log, bar, request)
                if signs is not None:
                    bilevel.end_epoch(signs)
            checkpoints.save(state.steps, bilevel.checkpoint(settings))
            if fabric.is_global_zero and state.history:
                _write_alphas(folder, state.history)
            request.obey()


def _run_epoch(bilevel: BilevelSearch, log: MetricLog, bar: Bar, request: StopRequest) -> dict[str, Any] | None:
    """Take the steps of the present epoch; signs of collapse after the last one, None where a request comes before."""
    state, epochs, signs = bilevel.state, bilevel.experiment.search.epochs, None
    rate = bilevel.start_epoch()
    for train, valid in bilevel.batches():
        step, batch = state.steps, state.steps_of_epoch + 1
        with naming(f"search step {step}, epoch {state.epoch}, batch {batch} of {state.steps_per_epoch}"):
            row = bilevel.step(train, valid)
            if batch == state.steps_per_epoch:
                signs = bilevel.diagnose()
                row |= {"diagnostics": signs}
        log.write(step, {"epoch": state.epoch, "learning_rate": rate, **row})
        if signs is not None and log.takes_pictures:
            cells = bilevel.supernet.derive().cells
            log.show(step, {f"cells/{name}": draw.encoded(cell, ".png", name) for name, cell in cells.items()})
        bar.advance(f"epoch {state.epoch + 1}/{epochs} | {_figures(row)}")
        state.end_step()
        if request.is_made():
            break
    return signs


def _figures(row: dict[str, Any]) -> str:
    objectives = row.get("objectives", {"warm-up": row["training_loss"]})
    shown = {name: value for name, value in objectives.items() if value > 0}  # a bound that is met is 0
    figures = " ".join(f"{name[:3]} {value:.2f}" for name, value in shown.items())
    derived = row["derived"]
    sizes = f"{derived['parameters'] / 1e6:.3f}M parameters {derived['conv_linear_macs'] / 1e6:.1f}M MACs"
    return f"losses {figures} | {sizes}"


def _write_alphas(folder: Path, history: Sequence[Tensor]) -> None:
    write_atomically(
        folder / "alphas.safetensors", save({f"epoch_{epoch:05d}": alphas for epoch, alphas in enumerate(history, 1)})
    )


def _candidates_tried(bilevel: BilevelSearch, folder: Path, data: ImageData) -> list[Candidate]:
    """The alphas' likeliest cells, the chosen one first; the derived one alone, untried, unless more are asked for.

    Of a pool that is larger than the candidates, those that the supernet judges best, or that a predictor proposes.
    """
    if bilevel.experiment.search.selection.strengths == "perturbation":
        bilevel.take_alphas(operations_missed(bilevel))
    bilevel.settle()
    experiment, selection, fabric = bilevel.experiment, bilevel.experiment.search.selection, bilevel.fabric
    genotypes = draw_candidates(
        selection.pool or selection.candidates,
        bilevel.state.history[-1],
        table=bilevel.table,
        bounds=bilevel.bounds,
        relaxation=bilevel.supernet.relaxation,
        generator=torch.Generator().manual_seed(stream_seed(experiment.seed, STAGE, "selection")),
    )
    if len(genotypes) > selection.candidates:
        accuracies = judge_pool(folder, experiment, data, fabric, genotypes)
        if selection.proposals == "predictor":
            parameters = [exact_cost(bilevel.table, genotype)["parameters"] for genotype in genotypes]
            pool = JudgedPool(genotypes, accuracies, parameters)
            return try_predicted(folder / "selection", experiment, data, fabric, pool)
        genotypes = [genotypes[place] for place in best_judged(selection.candidates, accuracies)]
    if selection.candidates == 1:
        return [Candidate(genotypes[0])]
    tried = try_cells(folder / "selection", experiment, data, fabric, genotypes)
    return [tried[index] for index in best_first(tried)]


def _finish(bilevel: BilevelSearch, folder: Path, settings: dict[str, Any], tried: Sequence[Candidate]) -> Genotype:
    genotype = tried[0].genotype
    cost = exact_cost(bilevel.table, genotype)
    if not bilevel.fabric.is_global_zero:
        return genotype
    _write_alphas(folder, bilevel.state.history)
    for name, cell in genotype.cells.items():
        draw.save_cell(cell, folder / f"{name}.svg")
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
            "seconds": round(bilevel.state.seconds, 1),
            "environment": environment(),
        },
    )
    return genotype
