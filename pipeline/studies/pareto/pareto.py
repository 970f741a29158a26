"""The Pareto front as a stage: points found from one trained supernet, judged, and set in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from safetensors.torch import save

from pipeline.data import ImageData
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN, Accuracy, strongest
from pipeline.networks.genotype_reference import load_genotype
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.files import write_atomically, write_json
from pipeline.runs.metrics import MetricLog
from pipeline.runs.progress import Bar, progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings, plain
from pipeline.runs.schemas import Cost, Schema, read_as
from pipeline.runs.settings_record import keep_settings
from pipeline.runs.stored_settings import PlainSettings
from pipeline.search.objectives import derive_within_bounds, derived_shape, exact_cost
from pipeline.search.search import search, search_settings
from pipeline.search.search_images import STAGE as SEARCH
from pipeline.search.selection.continued_search import STAGE, Walk
from pipeline.settings import Experiment
from pipeline.studies.pareto.front import Front, FrontCell
from pipeline.studies.pareto.front_figures import pareto_pictures
from pipeline.studies.pareto.points import Point, plan
from pipeline.studies.retrain_and_evaluate import check_retrain_and_evaluate, retrain_and_evaluate
from search_space import CostTable, Genotype
from search_space.drawing.draw import save_cell

OF_A_POINT = {"epochs", "weights", "alpha_learning_rate", "adapt_epochs", "held_back", "attack"}  # pareto.<key>


class PointFile(Schema):
    """The content of point.json: a cell's size, and its accuracies in the supernet."""

    settings: PlainSettings
    cost: Cost
    clean: Accuracy
    robust: Accuracy


def pareto(folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric) -> Front:
    """Walk along the front, and write points/<name>/, pareto.json and its pictures.

    The supernet is that of the run folder's search, which is searched first where it is not there. Every point goes on
    from it alone, so that points do not depend on one another: finished ones are kept and one that was stopped begins
    again, and all end, on the CPU, in the same bits as those of a walk that was never stopped. It runs in one process.
    Raises ValueError before any work when a point cannot be reached, or a folder holds one with other settings.
    """
    points = plan(experiment, data)
    steps = _checked(folder, points, experiment, data, fabric).search.images.steps_per_epoch
    search(folder, experiment, data, fabric)
    with exclusive(folder, STAGE):
        keep_settings(folder, STAGE, experiment)
        rows = _walk(folder, points, steps, data, fabric)
    judged = [_by_supernet(point, row, experiment) for point, row in zip(points, rows, strict=True)]
    if experiment.pareto.retrain:
        judged = _by_retraining(folder, judged, experiment, data, fabric)
    found = sum(point.genotype is None for point in points)
    front = Front.of(
        judged[:found],
        judged[found:],
        largest=_largest(experiment, data),
        settings=_settings(experiment),
        retrained=experiment.pareto.retrain,
        macs_convention=experiment.objectives.macs_convention,
    )
    for picture in pareto_pictures(front):
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_json(folder / "pareto.json", asdict(front))
    return front


def _settings(experiment: Experiment) -> dict[str, Any]:
    """All that a front depends on."""
    stages = ("pareto", "retrain", "evaluate") if experiment.pareto.retrain else ("pareto",)
    return search_settings(experiment) | plain({name: getattr(experiment, name) for name in stages})


def _checked(folder: Path, points: Sequence[Point], experiment: Experiment, data: ImageData, fabric: Fabric) -> Walk:
    """The walk to the first point, not yet gone; raises ValueError for what the stages would refuse on their way."""
    for point in points:
        _known(folder, point)
    walk = Walk(points[0].experiment, data, fabric)
    if not experiment.pareto.retrain:
        return walk
    if experiment.retrain.parameters is not None:
        raise RunError("pareto.retrain with retrain.parameters gives all points one size; use retrain.channels")
    if not set(experiment.evaluate.attacks) - {"cw"}:
        raise RunError("pareto.retrain needs an Linf attack in evaluate.attacks, such as pgd-20")
    check_retrain_and_evaluate(experiment, data, fabric, walk.search.supernet.derive())
    return walk


def _folder(folder: Path, name: str) -> Path:
    return folder / "points" / name


def _point_settings(point: Point) -> dict[str, Any]:
    """All that a point depends on; not the other points."""
    of_a_point = point.experiment.pareto.model_dump(mode="json", include=OF_A_POINT)
    return search_settings(point.experiment) | {"pareto": of_a_point}


def _known(folder: Path, point: Point) -> PointFile | None:
    """A finished point's point.json. Raises RunError when it is one of other settings."""
    path = _folder(folder, point.name) / "point.json"
    if not path.exists():
        return None
    found = read_as(path, PointFile, STAGE)
    check_same_settings(found.settings, _point_settings(point), path.parent)
    return found


def _walk(
    folder: Path, points: Sequence[Point], steps_per_epoch: int, data: ImageData, fabric: Fabric
) -> list[PointFile]:
    """point.json of every point, found now where it is not there."""
    lengths = [point.epochs * steps_per_epoch for point in points]
    rows = []
    with progress_bar(STAGE, sum(lengths)) as bar:
        for point, length in zip(points, lengths, strict=True):
            row = _known(folder, point)
            if row is None:
                row = _find(folder, point, data, fabric, bar)
            else:
                bar.advance(f"{point.name} done before", by=length)
            rows.append(row)
    return rows


def _find(folder: Path, point: Point, data: ImageData, fabric: Fabric, bar: Bar) -> PointFile:
    """Bring the alphas to a point, derive its cell, and judge it in the supernet."""
    # read again for each point: an optimizer goes on in the very tensors that it is given
    state = Checkpoints(folder, SEARCH, fabric).load()
    if state is None:
        raise RunError(f"{folder}/checkpoint holds no supernet to walk from; choose another run= to search it again")
    walk = Walk(point.experiment, data, fabric)
    walk.go_on_from(state)
    where = _folder(folder, point.name)
    with exclusive(where, STAGE):
        keep_settings(where, STAGE, point.experiment)
        genotype = point.genotype or _move(walk, where, point, bar)
        for loss in walk.adapt(genotype):
            bar.advance(f"{point.name} adapts: loss {loss:.2f}")
        clean, robust = walk.judge()
        for kind, cell in genotype.cells.items():
            save_cell(cell, where / f"{kind}.svg")
        write_atomically(where / "genotype.json", genotype.to_json())
        cost = Cost(**exact_cost(walk.search.table, genotype))
        found = PointFile(settings=_point_settings(point), cost=cost, clean=clean, robust=robust)
        write_json(where / "point.json", found.model_dump(mode="json"))  # last: it says that the point is finished
        return found


def _move(walk: Walk, where: Path, point: Point, bar: Bar) -> Genotype:
    """Train the alphas under the point's objectives, and settle them inside its bounds."""
    with MetricLog(where, STAGE, first_step=0, logger=point.experiment.logger) as log:
        for step, row in enumerate(walk.epochs()):
            log.write(step, row)
            bar.advance(f"{point.name}: {row['derived']['parameters'] / 1e6:.3f}M")
    found = walk.search
    genotype = derive_within_bounds(found.bounds, found.table, found.alphas, found.supernet.relaxation)
    write_atomically(where / "alphas.safetensors", save({"alphas": found.alphas.detach().cpu()}))
    return genotype


def _by_supernet(point: Point, found: PointFile, experiment: Experiment) -> FrontCell:
    return FrontCell(
        name=point.name,
        asked=point.asked,
        parameters=found.cost.parameters,
        macs=getattr(found.cost, experiment.objectives.macs_convention),
        clean=found.clean,
        robust=found.robust,
        supernet=found.robust,
    )


def _by_retraining(
    folder: Path, judged: Sequence[FrontCell], experiment: Experiment, data: ImageData, fabric: Fabric
) -> list[FrontCell]:
    """The same cells as retrained networks, on test images; robust is under the strongest attack."""
    accuracies, costs = {}, {}
    for cell in judged:
        where = _folder(folder, cell.name)
        _, genotype = load_genotype(str(where))
        name = f"{folder.resolve().name}-{cell.name}"
        accuracies[cell.name], costs[cell.name] = retrain_and_evaluate(
            where, experiment, data, fabric, name=name, genotype=genotype
        )
    attack, convention = strongest(accuracies), experiment.objectives.macs_convention
    return [
        replace(
            cell,
            parameters=costs[cell.name]["parameters"],
            macs=costs[cell.name][convention],
            clean=_under(CLEAN, accuracies[cell.name]),
            robust=_under(attack, accuracies[cell.name]),
        )
        for cell in judged
    ]


def _under(attack: str, accuracies: Sequence[Accuracy]) -> Accuracy:
    return next(result for result in accuracies if result.attack == attack)


def _largest(experiment: Experiment, data: ImageData) -> dict[str, int]:
    """Largest parameters and MACs of a network of the space, of the shape that was judged."""
    shape = derived_shape(experiment, data)
    if experiment.pareto.retrain:
        shape = replace(shape, channels=experiment.retrain.channels, layers=experiment.retrain.layers)
    table = CostTable(experiment.space.build(), shape)
    quantities = {"parameters": "parameters", "macs": experiment.objectives.macs_convention}
    return {name: table.reachable(quantity)[1] for name, quantity in quantities.items()}
