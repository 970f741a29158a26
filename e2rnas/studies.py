"""Studies: what takes many searches or trainings, each in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2rnas.overrides import ImageSource, kept, request
from e2rnas.results import Comparison, Study
from e2rnas.stages import compare_cells, prepared, study_searchers
from pipeline.meta_training.meta_train import meta_train as meta_train_stage
from pipeline.studies.pareto.front import Front
from pipeline.studies.pareto.pareto import pareto as pareto_stage
from pipeline.studies.tables.table import Table, load_table
from pipeline.studies.tables.tabulate import tabulate as tabulate_stage


def compare(folder: str | Path, *, preset: str = "comparison", data: ImageSource = None, **settings: Any) -> Comparison:
    """Retrain searched, random and published cells and a ResNet by one recipe; an unfinished comparison goes on.

    folder: of its searches and retrainings, and of the page with its pictures.
    preset: an experiment of conf/, such as "comparison_cifar10".
    data, settings: as `e2rnas.search` takes them, such as comparison={"searches": 3, "processes": 1}. Other processes
    import the program that calls this: keep the call below `if __name__ == "__main__":`, or processes at 1.
    Raises ValueError where the settings make no honest comparison.
    """
    asked = {"comparison.results": folder, **settings}
    experiment, overrides = request("compare", folder, preset, data, asked)
    with kept(data, folder):
        return compare_cells(experiment, overrides)


def pareto(folder: str | Path, *, preset: str = "pareto_demo", data: ImageSource = None, **settings: Any) -> Front:
    """Walk along the Pareto front from one supernet, which is searched first where the folder has none.

    preset, data, settings: as `e2rnas.search` takes them, such as pareto={"points": 6}.
    Returns all points, `on_front` those that no other dominates, and the hypervolume; the folder has each point's cell.
    Raises ValueError where a point cannot be reached.
    """
    experiment, _ = request("pareto", folder, preset, data, settings)
    with kept(data, folder):
        return pareto_stage(*prepared(experiment))


def tabulate(
    folder: str | Path, *, preset: str = "table_nasbench201", data: ImageSource = None, **settings: Any
) -> Table:
    """Train and attack the cells of a search space, as a table that is read instead; an unfinished one goes on.

    preset, data, settings: as `e2rnas.search` takes them, such as tabulate={"cells": 100, "processes": 1}.
    `e2rnas.load_table` reads the table again. Raises ValueError where the settings or the folder cannot be used.
    """
    experiment, _ = request("tabulate", folder, preset, data, settings)
    with kept(data, folder):
        return load_table(tabulate_stage(Path(folder), experiment))


def study(
    folder: str | Path,
    table: str | Path,
    *,
    preset: str = "study_nasbench201",
    data: ImageSource = None,
    **settings: Any,
) -> Study:
    """Let searchers choose cells of a table at equal cost, and judges rank them; an unfinished study goes on.

    folder: of the searches by supernets, and of the page with its pictures.
    table: the folder or file of `tabulate`, the name of a table that is shipped, or a benchmark of others, with
    preset="study_published".
    preset, data, settings: as `e2rnas.search` takes them, such as study={"seeds": 50, "judges": ["macs"]}.
    Raises ValueError where the settings do not fit the table.
    """
    asked = {"study.table": table, "study.results": folder, **settings}
    experiment, overrides = request("study", folder, preset, data, asked)
    with kept(data, folder):
        return study_searchers(experiment, overrides)


def meta_train(folder: str | Path, *, preset: str = "meta_demo", **settings: Any) -> Path:
    """Train a learned optimizer on families of small tasks, and return the path of its theta.safetensors.

    settings: as `e2rnas.search` takes them, such as meta={"steps": 20}. The path serves as `theta` in
    `e2rnas.search(..., weight_optimizer={"name": "learned", "theta": path})`, or in `learned_optimizers.load_theta`.
    Raises ValueError where the settings or the folder cannot be used.
    """
    experiment, _ = request("meta_train", folder, preset, None, settings)
    meta_train_stage(Path(folder), experiment)
    return Path(folder) / "theta.safetensors"
