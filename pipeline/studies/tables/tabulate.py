"""Tabulation: cells of a search space that compute different functions, each trained with several seeds and attacked.

What a search, or any other way to choose a cell, would have found is then read from the table instead of trained.
NAS-Bench-201 (Dong & Yang 2020) tabulates accuracies so; here cells are trained under attack, and attacked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pipeline.compute.environment import environment
from pipeline.compute.fabric import make_fabric
from pipeline.data import ImageData
from pipeline.errors import RunError
from pipeline.networks.description import genotype_from_plain, genotype_to_plain
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings, plain, what_training_depends_on
from pipeline.settings import Experiment
from pipeline.studies.tables import rows as stored
from pipeline.studies.tables.distinct_cells import distinct_cells
from pipeline.studies.tables.rows import CellRow, Header, PartSizes
from pipeline.studies.tables.side_by_side_training import SideBySideTraining, train_and_measure
from pipeline.studies.tables.table import TABLE_FILE, find_table, read_table, write_table
from pipeline.studies.work import images_of, in_processes, seeds
from search_space import Genotype, canonical_form, network_cost

STAGE = "tabulate"


@dataclass(frozen=True)
class CellWork:
    """A cell to be trained and measured."""

    experiment: Experiment
    genotype: Genotype

    def __call__(self) -> CellRow:
        """Train all seeds side by side, and count what each has right."""
        experiment, data = self.experiment, images_of(self.experiment.data)
        shape = data.network_shape(channels=experiment.retrain.channels, layers=experiment.retrain.layers)
        cost = network_cost(self.genotype, **asdict(shape))
        trained_with = seeds(experiment, experiment.tabulate.seeds)
        found = train_and_measure(experiment, data, make_fabric(experiment.fabric), self.genotype, trained_with)
        return CellRow(
            genotype=genotype_to_plain(self.genotype),
            parameters=cost.parameters,
            conv_linear_macs=cost.conv_linear_macs,
            seconds=found.seconds,
            trained=found.trained,
            clean=found.clean,
            robust=found.robust,
            validation=found.validation,
            test=found.test,
        )


def tabulate(folder: Path, experiment: Experiment) -> Path:
    """Train and measure the cells that are not yet in the folder, and write all of them as table.parquet.

    A call that is stopped goes on with the next cell; one with more cells, or another shard, adds to the table. With
    tabulate.merge the cells of other folders and tables are joined instead.
    Raises ValueError before any work for settings of which no table can be made, and RunError where the folder, or one
    to be merged, holds a table of other settings.
    """
    if experiment.tabulate.merge:
        return _merge(folder, experiment)
    _check(experiment)
    settings = experiment.tabulate
    cells = distinct_cells(experiment.space.build(), settings.cells, experiment.seed)[settings.shard :: settings.shards]
    header = header_of(experiment, images_of(experiment.data), cells[0])
    with exclusive(folder, STAGE):
        done = {form_of(row) for row in stored.begin(folder, header)}
        works = [CellWork(experiment, cell) for cell in cells if canonical_form(cell) not in done]
        in_processes(STAGE, works, settings.processes, done=partial(_note, folder))
        return write_table(folder / TABLE_FILE, *stored.read(folder))


def form_of(row: CellRow) -> str:
    """Return the canonical form of a row's cell."""
    return canonical_form(genotype_from_plain(row.genotype))


def _note(folder: Path, row: CellRow) -> str:
    """Keep the row; return what the progress bar shows of it."""
    stored.append(folder, row)
    name, counts = list(row.test.items())[-1]
    return f"{name}: {sum(counts) / len(counts):.0f} images right | {row.seconds:.1f} s a cell"


def header_of(experiment: Experiment, data: ImageData, first: Genotype) -> Header:
    """Collect what all figures depend on. Raises ValueError where the first cell cannot be trained on the images."""
    settings = what_training_depends_on(experiment, "retrain") | plain({"space": experiment.space})
    settings["data"] |= plain({"data": experiment.data})["data"]
    evaluate = plain({"evaluate": experiment.evaluate})["evaluate"]
    settings["evaluate"] = {name: evaluate[name] for name in ("attacks", "eps", "norm", "batch_size")}
    settings["tabulate"] = {"seeds": experiment.tabulate.seeds}
    training = SideBySideTraining(experiment, data, make_fabric(experiment.fabric), first, (experiment.seed,))
    images = PartSizes(train=training.images_per_epoch, validation=len(training.validation), test=len(data.test))
    return Header(settings=settings, data=data.name, images=images, environment=environment())


def _check(experiment: Experiment) -> None:
    """Raise ValueError for settings under which networks cannot be trained side by side, or not be compared."""
    recipe, evaluate = experiment.retrain, experiment.evaluate
    refused = {
        "retrain.recipe": recipe.recipe == "free",
        "retrain.awp_gamma": recipe.awp_gamma > 0,
        "retrain.auxiliary_weight": recipe.auxiliary_weight > 0,
        "retrain.drop_path": recipe.drop_path > 0,
        "retrain.parameters": recipe.parameters is not None,
        "weight_optimizer.name": experiment.weight_optimizer.name == "learned",
        "fabric.precision": experiment.fabric.precision != "32-true",
        "evaluate.restarts": evaluate.restarts > 1,
    }
    for key, is_refused in refused.items():
        if is_refused:
            group, name = key.split(".")
            value = getattr(getattr(experiment, group), name)
            raise ValueError(f"{key}={value}: the cells of a table are trained side by side, which it does not fit")
    if not evaluate.attacks:
        raise ValueError("evaluate.attacks names none; a table of robust cells needs one, such as pgd-20")


def _merge(folder: Path, experiment: Experiment) -> Path:
    read = {name: _rows_of(name) for name in experiment.tabulate.merge}
    first, _ = next(iter(read.values()))
    found: dict[str, CellRow] = {}
    for place, (header, rows) in read.items():
        check_same_settings(first.settings, header.settings, Path(place))
        for row in rows:
            before = found.setdefault(form_of(row), row)
            if before.model_copy(update={"seconds": row.seconds}) != row:
                raise RunError(f"{place} has other figures of a cell than what was merged before it")
    with exclusive(folder, STAGE):
        known = {form_of(row) for row in stored.begin(folder, first)}
        for form, row in found.items():
            if form not in known:
                stored.append(folder, row)
        return write_table(folder / TABLE_FILE, *stored.read(folder))


def _rows_of(name: str) -> tuple[Header, list[CellRow]]:
    """Read the cells of a run folder, finished or not, or of a table."""
    folder = Path(name)
    return stored.read(folder) if (folder / stored.CELLS_FILE).exists() else read_table(find_table(name))
